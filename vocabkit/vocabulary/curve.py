"""How much shorter text becomes with more new tokens: every prefix of one learning pass is a point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from vocabkit.tokenizer.base import NewToken, Tokenizer

SIZES = (500, 1000, 2000, 4000, 8000, 16000, 32000, 64000)
RESAMPLES, SEED = 1000, 20231


@dataclass(frozen=True)
class Point:
    """One size.

    size: new tokens.  tokens_per_character: on held-out lines, with its 95 % interval.
    ratio: tokens, of those of the base on the same lines, with its 95 % interval (lines are resampled in pairs).
    seen: how often each new token occurs for each token of the sample.
    """

    size: int
    tokens_per_character: float
    interval: tuple[float, float]
    ratio: float
    ratio_interval: tuple[float, float]
    seen: NDArray[np.float64] = field(repr=False)

    def rarely_seen(self, budget_tokens: float, times: int) -> float:
        """Return the share of new rows that fewer than `times` of `budget_tokens` tokens would train."""
        return float((self.seen * budget_tokens < times).mean()) if len(self.seen) else 0.0


def curve(
    base: Tokenizer,
    tokens: Sequence[NewToken],
    held_out: Sequence[str],
    sample: Sequence[tuple[str, int]],
    *,
    sizes: Sequence[int] = SIZES,
    progress: Callable[[int], None] | None = None,
) -> list[Point]:
    """Return a point for no new token, for each of `sizes` that was learned, and for all `tokens`.

    held_out: lines that were not learned from.  sample: texts with their weights, on which occurrences are counted.
    """
    characters = np.array([len(line) for line in held_out], np.float64)
    weights = _resampled(len(held_out))
    before: NDArray[np.float64] | None = None
    points = []
    for size in [0, *takewhile(lambda n: n < len(tokens), sizes), len(tokens)]:
        if progress:
            progress(size)
        tokenizer = base.extended(tokens[:size]) if size else base
        lengths = np.array([len(ids) for ids in tokenizer.encode(held_out)], np.float64)
        before = lengths if before is None else before
        drawn = weights @ lengths
        points.append(
            Point(
                size,
                float(lengths.sum() / characters.sum()),
                _interval(drawn / (weights @ characters)),
                float(lengths.sum() / before.sum()),
                _interval(drawn / (weights @ before)),
                _seen(tokenizer, base.size, sample),
            )
        )
    return points


def knee(sizes: Sequence[int], net: Sequence[float], *, least: float = 0.01) -> int:
    """Return the place of the size after which doubling saves less than `least` of the net cost.

    sizes: ascending, the first is 0.  net: what a character costs at each.
    """
    best = 0
    for place in range(1, len(sizes)):
        doublings = np.log2(sizes[place] / sizes[best]) if best else 1.0
        if 1 - net[place] / net[best] >= least * max(doublings, 1e-9):
            best = place
    return best


def _seen(tokenizer: Tokenizer, first_new: int, sample: Sequence[tuple[str, int]]) -> NDArray[np.float64]:
    counts = np.zeros(tokenizer.size, np.float64)
    for ids, (_, weight) in zip(tokenizer.encode([text for text, _ in sample]), sample, strict=True):
        np.add.at(counts, np.asarray(ids, np.int64), weight)
    total = max(float(counts.sum()), 1.0)
    # What a sample does not hold may still occur: half an occurrence is what is expected of none (Jeffreys' prior).
    seen: NDArray[np.float64] = (counts[first_new:] + 0.5) / total
    return seen


def _resampled(lines: int) -> NDArray[np.float64]:
    """Return how often each line is drawn in each of many samples of as many lines, [RESAMPLES, lines]."""
    generator = np.random.default_rng(SEED)
    drawn: NDArray[np.float64] = generator.multinomial(lines, np.full(lines, 1 / lines), RESAMPLES).astype(np.float64)
    return drawn


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
