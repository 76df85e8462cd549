"""Tell languages of one script apart, word by word, with the package py3langid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from vocabkit.errors import VocabkitError

ENGLISH = "en"
# What a change of language costs, in nats; half of it where a sentence ends.  Chosen on the UDHR, so that its
# paragraphs, which hold no switch, show hardly any (docs/decisions.md).
SWITCH_ENGLISH = 7.0
SWITCH_NEIGHBOUR = 16.0
# At this price more than every thirtieth paragraph of the UDHR in Hindi is said to hold Sanskrit, in Indonesian
# Malay, in Marathi Konkani (benchmarks/code_switching.py).  Marathi and Nepali share formal words with Sanskrit too.
NOT_TOLD_APART = frozenset({("hi", "sa"), ("id", "ms"), ("mr", "gom"), ("mr", "sa"), ("ms", "id"), ("ne", "sa")})


def can_identify() -> bool:
    """Return whether py3langid is installed."""
    return find_spec("py3langid") is not None


def need_identification(what: str) -> None:
    """Raise VocabkitError, which says what to install, unless py3langid is there.  what: needs it."""
    if not can_identify():
        raise VocabkitError(f"{what} needs py3langid; run `pip install 'vocabkit[languages]'`")


@cache
def known_languages() -> frozenset[str]:
    """Return the codes of the languages that can be identified; none without py3langid."""
    return frozenset(_model().labels) if can_identify() else frozenset()


class Identifier:
    """Labels each word of a text with one of a few languages.

    A hidden Markov model: a word's evidence is py3langid's naive Bayes score of it, and a change of language costs so
    much that one word alone is hardly ever enough, and five mostly are.
    """

    def __init__(self, codes: Sequence[str]) -> None:
        """codes: at least two of `known_languages()`; texts are expected in the first."""
        self.codes = tuple(codes)
        self._model = _model()
        self._model.set_languages(codes)
        self._prior = dict(zip(self._model.nb_classes, map(float, self._model.nb_pc), strict=True))
        self._scores: dict[str, tuple[float, ...]] = {}

    def label(self, words: Sequence[str], begins: Sequence[bool]) -> list[str]:
        """Return a code for each word; begins: whether the word is the first of a sentence."""
        size = len(self.codes)
        best = [0.0] + [-self._cost(0, other) for other in range(1, size)]
        origins: list[list[int]] = []
        for word, is_first in zip(words, begins, strict=True):
            factor = 0.5 if is_first else 1.0
            evidence = self._evidence(word)
            origin = [max(range(size), key=lambda k: best[k] - factor * self._cost(k, to)) for to in range(size)]
            best = [best[k] - factor * self._cost(k, to) + evidence[to] for to, k in enumerate(origin)]
            origins.append(origin)
        state = best.index(max(best))
        labels = []
        for origin in reversed(origins):
            labels.append(self.codes[state])
            state = origin[state]
        return labels[::-1]

    def _cost(self, one: int, other: int) -> float:
        if one == other:
            return 0.0
        return SWITCH_ENGLISH if ENGLISH in (self.codes[one], self.codes[other]) else SWITCH_NEIGHBOUR

    def _evidence(self, word: str) -> tuple[float, ...]:
        """Return the log-likelihoods of a word, up to a constant; all equal when the model knows nothing of it."""
        if word not in self._scores:
            found = dict(self._model.rank(f" {word} "))
            is_known = len(set(found.values())) > 1
            self._scores[word] = tuple(float(found[c]) - self._prior[c] if is_known else 0.0 for c in self.codes)
        return self._scores[word]


def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)
