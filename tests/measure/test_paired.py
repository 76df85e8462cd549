"""Intervals hold what they should as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vocabkit.measure.paired import (
    FEWEST_LINES,
    NOT_RESOLVED,
    Interval,
    combined,
    difference_over_seeds,
    loss_over_lines,
    t_quantile,
)

Values = NDArray[np.float64]
EXPERIMENTS = 200
# What seeds, lines, and both together add to the difference, bits a byte: one of them leads, or none.
SPREADS = {
    "seeds": (0.05, 0.01, 0.01), "lines": (0.01, 0.3, 0.05), "both": (0.03, 0.2, 0.1),
    "single runs": (0.02, 0.0, 0.3),
}  # fmt: skip


def experiment(
    generator: np.random.Generator, difference: float, spread: tuple[float, float, float], seeds: int, lines: int
) -> tuple[Values, Values, Values]:
    """Return bits of two arms, [S, L], and the lines' bytes, whose true mean difference is `difference`."""
    sizes = generator.lognormal(4.5, 0.8, lines)
    of_seed, of_line, of_both = spread
    changed = difference + of_seed * generator.standard_normal((seeds, 1))
    changed = changed + of_line * generator.standard_normal((1, lines))
    changed = changed + of_both * generator.standard_normal((seeds, lines))
    # Lines differ more than arms do: that is what pairs are for.
    first = sizes * (2 + generator.standard_normal(lines)) * np.ones((seeds, 1))
    return first, first + sizes * changed, sizes


def percentiles_of_a_bootstrap(first: Values, second: Values, sizes: Values, seed: int) -> tuple[float, float]:
    """Return what drawing seeds and then lines gives, without regard to how few the seeds are."""
    generator, difference = np.random.default_rng(seed), second - first
    seeds, lines = difference.shape
    means = []
    for _ in range(400):
        at = generator.integers(0, lines, lines)
        means.append((difference[generator.integers(0, seeds, seeds)][:, at].sum(1) / sizes[at].sum()).mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("name", SPREADS)
def test_an_interval_holds_the_difference_in_95_of_100_experiments(name: str) -> None:
    generator, held = np.random.default_rng(1), 0
    for _ in range(EXPERIMENTS):
        found = difference_over_seeds(*experiment(generator, 0.1, SPREADS[name], 3, 60))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.1 <= found.high
    assert 0.88 <= held / EXPERIMENTS <= 0.99


@pytest.mark.parametrize("name", SPREADS)
def test_equal_arms_are_not_resolved(name: str) -> None:
    generator = np.random.default_rng(2)
    verdicts = [
        difference_over_seeds(*experiment(generator, 0.0, SPREADS[name], 3, 60)).against() for _ in range(EXPERIMENTS)
    ]
    assert 0.88 <= verdicts.count(NOT_RESOLVED) / EXPERIMENTS <= 0.995


def test_a_large_difference_is_resolved_and_has_its_sign() -> None:
    generator = np.random.default_rng(3)
    spread = (0.005, 0.1, 0.05)
    better = [difference_over_seeds(*experiment(generator, -0.5, spread, 3, 60)).against() for _ in range(20)]
    worse = [difference_over_seeds(*experiment(generator, 0.5, spread, 3, 60)).against() for _ in range(20)]
    assert better == ["below"] * 20
    assert worse == ["above"] * 20


def test_drawing_three_seeds_with_replacement_would_hold_too_little() -> None:
    generator, held = np.random.default_rng(4), 0
    for number in range(100):
        low, high = percentiles_of_a_bootstrap(*experiment(generator, 0.1, SPREADS["seeds"], 3, 60), number)
        held += low <= 0.1 <= high
    assert held < 85, "then seeds may be drawn like lines, and t intervals are not needed"


def test_a_loss_over_lines_is_paired() -> None:
    generator, held, widths = np.random.default_rng(5), 0, []
    for _ in range(EXPERIMENTS):
        first = generator.lognormal(6, 1, 200)
        found = loss_over_lines(first, first * (1.02 + 0.05 * generator.standard_normal(200)))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.02 <= found.high
        widths.append(found.high - found.low)
    assert 0.88 <= held / EXPERIMENTS <= 0.99
    # Lines of such spread, not paired, would leave an interval of half the mean.
    assert np.mean(widths) < 0.05


def test_what_cannot_be_known_is_not_resolved() -> None:
    bits = np.arange(1.0, 61.0)
    sizes = np.full(60, 10.0)
    assert difference_over_seeds([bits], [bits + 1], sizes) == Interval(pytest.approx(0.1), None, None)
    few = FEWEST_LINES - 1
    assert loss_over_lines(bits[:few], bits[:few] * 2) == Interval(1.0, None, None)
    assert loss_over_lines(bits[:few], bits[:few] * 2).against() == NOT_RESOLVED
    assert loss_over_lines(bits, bits * np.nan).against() == NOT_RESOLVED
    same = difference_over_seeds([bits, bits], [bits, bits], sizes)
    assert same == Interval(0.0, 0.0, 0.0)
    assert same.against() == NOT_RESOLVED


def test_more_seeds_say_more() -> None:
    generator, widths = np.random.default_rng(6), {}
    for seeds in (2, 3, 10):
        found = [difference_over_seeds(*experiment(generator, 0, SPREADS["seeds"], seeds, 60)) for _ in range(30)]
        widths[seeds] = np.mean([one.high - one.low for one in found if one.high is not None and one.low is not None])
    assert widths[2] > 2 * widths[3] > 3 * widths[10]


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (2, 4.30265), (3, 3.18245), (10, 2.22814), (100, 1.98397)]
)
def test_quantiles_of_t_are_those_of_the_tables(freedom: float, expected: float) -> None:
    assert t_quantile(freedom) == pytest.approx(expected, rel=1e-5)


def test_parts_of_a_variance_add_up() -> None:
    found = combined(1.0, [(0.03, 2), (0.01, 1e4)])
    assert found.high is not None
    # 0.04^2 / (0.03^2 / 2) = 3.56 degrees of freedom.
    assert found.high - 1 == pytest.approx(t_quantile(0.04**2 / (0.03**2 / 2)) * 0.2, rel=1e-4)
