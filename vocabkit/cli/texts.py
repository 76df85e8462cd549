"""Read the lines of a text file in any corpus format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from vocabkit import console
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.corpus import Corpus
    from vocabkit.vocabulary.drift import BaseText

# Enough to see one line in a thousand change.
MOST_BASE_TEXTS, MOST_BASE_LINES = 400_000, 20_000


def read_lines(spec: str, registry: Registry, limit: int | None = None, field: str = "text") -> list[str]:
    """Return the non-empty lines of what `spec` names, at most `limit` of them."""
    from vocabkit.corpus import open_corpus

    corpus = open_corpus([spec], registry=registry, field=field)
    lines = list(islice(_lines(corpus), limit))
    for problem in corpus.problems.summaries():
        console.note(f"note: {problem}")
    return lines


def can_read(spec: str) -> bool:
    """Whether text that a manifest names is still there."""
    if spec.startswith("wordfreq:"):
        return find_spec("wordfreq") is not None
    return ":" in spec or Path(spec).exists()


def read_base_text(specs: Sequence[str], registry: Registry) -> BaseText:
    """Return text of the base's languages, a half to choose tokens by and a half to measure on.

    A list of words is measured on as lines that hold its words as often as it says.
    """
    from vocabkit.corpus import open_corpus
    from vocabkit.vocabulary.drift import BaseText
    from vocabkit.vocabulary.probes import prose_of

    lines: list[str] = []
    words: dict[str, int] = {}
    corpus = open_corpus(specs, registry=registry)
    for text in islice(corpus, MOST_BASE_TEXTS):
        if text.weight > 1:
            word = text.text.strip()
            words[word] = words.get(word, 0) + text.weight
        else:
            lines += [line for line in text.text.split("\n") if line.strip()]
    for problem in corpus.problems.summaries():
        console.note(f"note: {problem}")
    lines = lines[:MOST_BASE_LINES]
    return BaseText(tuple(lines[::2]), words, (*lines[1::2], *(prose_of(words) if words else ())))


def _lines(corpus: Corpus) -> Iterator[str]:
    for text in corpus:
        for line in text.text.split("\n"):
            if line.strip():
                yield line
