"""How long texts are with every beginning of a vocabulary: one learning pass gives the whole curve of sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.measure.paired import FEWEST_LINES, Interval, percentiles, resampled_sums
from vocabkit.tokenizer.base import NewToken, Tokenizer

FIRST = 500


@dataclass(frozen=True)
class OnText:
    """What a text takes at one size.

    per_character: tokens.  ratio: tokens, of those of the base on the same lines.  Both with their 95 % intervals.
    """

    tokens: int
    per_character: Interval
    ratio: Interval


@dataclass(frozen=True)
class Point:
    """One size: how many new tokens, and what that makes of each text, in the order of the texts.

    seen: how often each new token occurs for each token of the sample; none without a sample.
    """

    size: int
    texts: tuple[OnText, ...]
    seen: NDArray[np.float64] = field(repr=False)

    def rarely_seen(self, budget_tokens: float, times: int) -> float:
        """Return the share of new rows that fewer than `times` of `budget_tokens` tokens would train."""
        return float((self.seen * budget_tokens < times).mean()) if len(self.seen) else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return what the texts take, as plain data."""
        return {
            "size": self.size,
            "tokens": [text.tokens for text in self.texts],
            "ratios": [text.ratio.to_json() for text in self.texts],
        }


def size_curve(
    prefix: Callable[[int], Tokenizer],
    sizes: Sequence[int],
    texts: Sequence[Sequence[str]],
    *,
    sample: Sequence[tuple[str, int]] = (),
    progress: Callable[[int], None] | None = None,
) -> list[Point]:
    """Return a point for each of `sizes`.

    prefix: number of tokens -> the base extended by as many, the first that were learned; 0 -> the base.
    sizes: ascending from 0.  texts: the lines of each; intervals are theirs when they were not learned from.
    sample: texts with their weights, in which occurrences of new tokens are counted.
    """
    distinct = list(dict.fromkeys(line for lines in texts for line in lines))
    counts: list[list[list[int]]] = [[] for _ in texts]
    seen, base_size = [], 0
    for size in sizes:
        if progress:
            progress(size)
        tokenizer = prefix(size)
        base_size = base_size or tokenizer.size
        lengths = dict(zip(distinct, map(len, tokenizer.encode(distinct)), strict=True))
        for rows, lines in zip(counts, texts, strict=True):
            rows.append([lengths[line] for line in lines])
        seen.append(_seen(tokenizer, base_size, sample))
    measured = [_measured(rows, lines) for rows, lines in zip(counts, texts, strict=True)]
    return [Point(size, tuple(text[i] for text in measured), seen[i]) for i, size in enumerate(sizes)]


def prefixes_of(base: Tokenizer, tokens: Sequence[NewToken]) -> Callable[[int], Tokenizer]:
    """Return what extends `base` by the first of `tokens`, as many as it is asked for."""
    return lambda size: base.extended(tokens[:size]) if size else base


def sizes(full: int) -> list[int]:
    """Return the sizes that are measured: 12000 -> [0, 500, 1000, 2000, 4000, 8000, 12000]."""
    found, number = [0], FIRST
    while number < full:
        found.append(number)
        number *= 2
    return [*found, full] if full else found


def _measured(counts: Sequence[Sequence[int]], lines: Sequence[str]) -> list[OnText]:
    """Return what a text takes at each size.  counts: [S, L] tokens of each line."""
    values = np.array([list(map(len, lines)), *counts], np.float64)
    totals = values.sum(axis=1)
    drawn = resampled_sums(values) if len(lines) >= FEWEST_LINES else None

    def ratio(row: int, to: int) -> Interval:
        value = float(totals[row] / totals[to]) if totals[to] else 1.0
        if drawn is None or not totals[to]:
            return Interval(value, None, None)
        # Lines that are nothing to the tokenizer may be drawn alone.
        return percentiles(value, drawn[:, row] / np.maximum(drawn[:, to], 1))

    return [OnText(int(totals[row]), ratio(row, 0), ratio(row, 1)) for row in range(1, len(values))]


def _seen(tokenizer: Tokenizer, first_new: int, sample: Sequence[tuple[str, int]]) -> NDArray[np.float64]:
    if not sample:
        return np.empty(0)
    counts = np.zeros(tokenizer.size, np.float64)
    for ids, (_, weight) in zip(tokenizer.encode([text for text, _ in sample]), sample, strict=True):
        np.add.at(counts, np.asarray(ids, np.int64), weight)
    total = max(float(counts.sum()), 1.0)
    # What a sample does not hold may still occur: half an occurrence is what is expected of none (Jeffreys' prior).
    seen: NDArray[np.float64] = (counts[first_new:] + 0.5) / total
    return seen
