"""How sure a difference is: intervals from lines that were scored in pairs, and from seeds.

Lines of text differ far more from one another than two models do on the same line, so models are compared line by
line.  What else would have been trained from another seed is known from few runs, and is counted by their spread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
RESAMPLES = 2000
# With fewer lines a bootstrap says next to nothing about those that are not there.
FEWEST_LINES = 8
NOT_RESOLVED = "not resolved"
# Counts of resampled lines that are held at a time: 16 MB.
BLOCK_VALUES = 1 << 21

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure and where it lies with a confidence of 95 %; `low` and `high` are None where nothing can be said."""

    value: float
    low: float | None
    high: float | None

    def against(self, limit: float = 0.0) -> str:
        """Return "above" or "below", or "not resolved" when the interval holds `limit` or is not known."""
        if self.low is None or self.high is None or self.low <= limit <= self.high:
            return NOT_RESOLVED
        return "above" if self.low > limit else "below"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return asdict(self)


def loss_over_lines(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> Interval:
    """Return sum(second) / sum(first) - 1 with the interval of a paired bootstrap over lines.

    first, second: [L] bits of each line.  Lines are drawn with replacement, RESAMPLES times, both sides the same;
    the interval is from the 2.5th to the 97.5th percentile.  Below FEWEST_LINES lines there is none.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    value = float(b.sum() / a.sum() - 1)
    if len(a) < FEWEST_LINES or not math.isfinite(value):
        return Interval(value, None, None)
    sums = resampled_sums(np.stack([a, b]), seed=seed)
    return percentiles(value, sums[:, 1] / sums[:, 0] - 1)


def percentiles(value: float, drawn: Values) -> Interval:
    """Return `value` with the interval in which it lay over resampled lines, from the 2.5th to the 97.5th percentile.

    drawn: [R] what it was in each sample.
    """
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def difference_over_items(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> Interval:
    """Return the mean of second - first with the interval of a paired bootstrap over items, for example questions.

    first, second: [N], what each item counts.  Below FEWEST_LINES items, and where no item differs, there is none.
    """
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    value = float(difference.mean())
    if len(difference) < FEWEST_LINES or not difference.any():
        return Interval(value, None, None)
    return percentiles(value, resampled_sums(difference[None], seed=seed)[:, 0] / len(difference))


def difference_over_seeds(first: ArrayLike, second: ArrayLike, weights: ArrayLike, *, seed: int = 0) -> Interval:
    """Return the mean over seeds of sum(second - first) / sum(weights), with an interval for other seeds and lines.

    first, second: [S, L] bits of line l after training from seed s; weights: [L], bytes for bits per byte.
    The variance has two parts: that of the seeds' differences over S, with S - 1 degrees of freedom, and that of a
    bootstrap over lines of the mean difference.  Their sum gives a t interval with the degrees of freedom of Welch
    and Satterthwaite.  What chance adds to a line in a single run is in both parts, so the interval is rather wide.
    One seed, or fewer lines than FEWEST_LINES, gives no interval.
    """
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    sizes = np.asarray(weights, np.float64)
    seeds, lines = difference.shape
    by_seed = difference.sum(1) / sizes.sum()
    value = float(by_seed.mean())
    if seeds < 2 or lines < FEWEST_LINES:
        return Interval(value, None, None)
    sums = resampled_sums(np.stack([difference.mean(0), sizes]), seed=seed)
    drawn = sums[:, 0] / sums[:, 1]
    return combined(
        value,
        [
            (float(by_seed.var(ddof=1)) / seeds, seeds - 1),
            # Long lines are few: so many lines of one length would be worth as much.
            (float(drawn.var(ddof=1)), float(sizes.sum() ** 2 / (sizes**2).sum()) - 1),
        ],
    )


def combined(value: float, parts: Sequence[tuple[float, float]]) -> Interval:
    """Return the t interval of `value` whose variance is a sum of independent parts.

    parts: each one's variance and degrees of freedom.
    Source: Satterthwaite, "An approximate distribution of estimates of variance components", 1946.
    """
    total = sum(variance for variance, _ in parts)
    if total <= 0:
        return Interval(value, value, value)
    freedom = total**2 / sum(variance**2 / max(degrees, 1.0) for variance, degrees in parts)
    half = t_quantile(freedom) * math.sqrt(total)
    return Interval(value, value - half, value + half)


def t_quantile(freedom: float) -> float:
    """Return how far a t variable of `freedom` degrees lies from 0 at most, with a probability of LEVEL.

    With t = sqrt(n) tan(a) the density of a is proportional to cos(a) ** (n - 1), which a sum integrates.
    """
    # Beyond that it is the normal distribution to three digits.
    freedom = min(max(freedom, 1.0), 1e4)
    angle = np.linspace(0.0, math.pi / 2, 20_001)
    density = np.cos(angle) ** (freedom - 1)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return math.sqrt(freedom) * math.tan(float(np.interp(LEVEL * area[-1], area, angle)))


def line_variance(values: ArrayLike, statistic: Callable[[Values, Values], Values], *, seed: int = 0) -> float:
    """Return the variance of a statistic of two sums over lines, by a bootstrap.  values: [2, L]."""
    sums = resampled_sums(values, seed=seed)
    return float(statistic(sums[:, 0], sums[:, 1]).var(ddof=1))


def resampled_sums(values: ArrayLike, *, seed: int = 0) -> Values:
    """Return the sums over lines that are drawn with replacement, [RESAMPLES, K], the same lines for all rows.

    values: [K, L], of each line.
    """
    rows = np.asarray(values, np.float64)
    generator = np.random.default_rng(seed)
    lines = rows.shape[1]
    step = max(1, BLOCK_VALUES // lines)
    found = []
    for begin in range(0, RESAMPLES, step):
        # How often each line is drawn, instead of which: sums are then products.
        counts = generator.multinomial(lines, np.full(lines, 1 / lines), min(step, RESAMPLES - begin))
        found.append(counts @ rows.T)
    return np.concatenate(found)
