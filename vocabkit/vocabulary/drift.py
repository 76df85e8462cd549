"""Learn tokens of a script that English shares, and leave out those that would change English text most."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from vocabkit.language import Language
from vocabkit.tokenizer.base import SEPARATOR, NewToken, Tokenizer
from vocabkit.vocabulary import probes
from vocabkit.vocabulary.spans import SpanCutter

# Of what may change, on text that chooses; other text of the same kind changes a little more.
MARGIN = 0.8
# Each round refuses more; after the last one nothing that the base text holds is learned.
MOST_ROUNDS = 10

# Text -> the share of all lines that it is, or stands in.
Weighted = Mapping[str, float]
Learn = Callable[[frozenset[bytes]], list[NewToken]]


@dataclass(frozen=True)
class BaseText:
    """Text in the languages that the base knows.

    lines, words: decide what is learned; words with their counts, as a list of words has them.
    measured_on: other lines, for the certificate.
    """

    lines: tuple[str, ...] = ()
    words: Mapping[str, int] = field(default_factory=dict)
    measured_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bounded:
    """What was learned.  refused: tokens of the base text that were not allowed.  rounds: of learning."""

    tokens: list[NewToken] = field(repr=False)
    refused: int
    rounds: int


def learn_within(base: Tokenizer, language: Language, base_text: BaseText, max_drift: float, learn: Learn) -> Bounded:
    """Learn until at most `max_drift` of the lines of English, of code and of `base_text` are segmented anew.

    learn: makes new tokens without those it is given.
    A new token changes a line only where old tokens of the line spell it, side by side; the tokens that the most
    lines spell so are refused first.  Parts of a token are spelled wherever it is, so they go before it.
    """
    sets = [_evenly(lines) for lines in (probes.english_lines(), probes.code_lines()[::2], base_text.lines) if lines]
    if base_text.words:
        sets.append(_as_lines(base_text.words))
    shares = [spelled(base, language, texts) for texts in sets]
    worst = {token: max(one.get(token, 0.0) for one in shares) for token in set().union(*shares)}
    allowed = _allowed(max_drift, len(base_text.measured_on))
    limit, refused = float("inf"), frozenset[bytes]()
    for number in range(1, MOST_ROUNDS + 2):
        tokens = learn(refused)
        extended = base.extended(tokens)
        limits = [_limit(base, extended, texts, worst, allowed) for texts in sets]
        too_many = [one for one in limits if one is not None]
        if not too_many or number > MOST_ROUNDS:
            break
        limit = min(limit, *too_many) if number < MOST_ROUNDS else 0.0
        refused = frozenset(token for token, share in worst.items() if share >= limit)
    return Bounded(tokens, len(refused), number)


def spelled(base: Tokenizer, language: Language, texts: Weighted) -> dict[bytes, float]:
    """Return what could be learned and stands in `texts`, with the share of lines in which it does.

    That is every run of neighbouring tokens of the base within a word.
    """
    cut = SpanCutter(base.preparer(), language)
    spans: dict[str, float] = {}
    for text, weight in texts.items():
        for span in cut(text, True, True):
            spans[span] = spans.get(span, 0.0) + weight
    units = base.units(list(spans))
    names = [base.token_bytes(token_id) for token_id in range(base.size)]
    names += [spelling.token for spelling in units.spellings]
    weights = list(spans.values())
    found: dict[bytes, float] = {}
    pairs = zip(units.ids.tolist(), units.span.tolist(), strict=True)
    for (is_cut, span), run in groupby(pairs, key=lambda pair: (pair[0] == SEPARATOR, pair[1])):
        if is_cut:
            continue
        pieces = [(names[unit] or b"", unit >= base.size) for unit, _ in run]
        for first, (token, is_new) in enumerate(pieces):
            if is_new:
                found[token] = found.get(token, 0.0) + weights[span]
            for piece, _ in pieces[first + 1 :]:
                token += piece
                found[token] = found.get(token, 0.0) + weights[span]
    return found


def _allowed(max_drift: float, lines: int) -> float:
    """Return what may change of the text that chooses, so that no more than `max_drift` of other `lines` does."""
    # Three standard deviations of a share counted on so many lines.
    chance = 3 * math.sqrt(max_drift / lines) if lines else 0.0
    return max(0.0, min(max_drift * MARGIN, max_drift - chance))


def _limit(
    base: Tokenizer, extended: Tokenizer, texts: Weighted, worst: Mapping[bytes, float], max_drift: float
) -> float | None:
    """Return how often a token may stand in the texts so that few enough of them change; None where they are few."""
    changed = []
    lines = list(texts)
    for line, old, new in zip(lines, base.encode(lines), extended.encode(lines), strict=True):
        if old != new:
            tokens = [extended.token_bytes(token_id) for token_id in new if token_id >= base.size]
            # A line keeps its change as long as its rarest new token is learned.
            rarest = min((worst.get(token, 0.0) for token in tokens if token), default=0.0)
            changed.append((rarest, texts[line]))
    if sum(weight for _, weight in changed) <= max_drift:
        return None
    total = 0.0
    for rarest, weight in sorted(changed):
        total += weight
        if total > max_drift:
            return rarest
    return 0.0


def _evenly(lines: Sequence[str]) -> Weighted:
    return {line: count / len(lines) for line, count in Counter(lines).items()}


def _as_lines(words: Mapping[str, int]) -> Weighted:
    """Return words as they stand in a line, its first one and the others, with the share of lines that hold them."""
    total = sum(words.values())
    found: dict[str, float] = {}
    for word, count in words.items():
        share = count / total
        first = word[:1].upper() + word[1:]
        found[first] = found.get(first, 0.0) + share
        found[f"a {word}"] = share * (probes.WORDS_IN_A_LINE - 1)
    return found
