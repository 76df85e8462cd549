"""What each size of an extension brings and costs, and the size after which more of it hardly pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vocabkit.report.cost import Cost, Shape, cost_of

if TYPE_CHECKING:
    from vocabkit.measure.size_curve import OnText, Point

# Rows that training shows more seldom are counted, and those that it shows ten times as often.
TIMES = 100


@dataclass(frozen=True)
class Size:
    """One size of an extension.

    rows: of the vocabulary matrices, padded.  text: what the text takes, with 95 % intervals.
    rarely_seen: share of new rows that the budget trains fewer than 100 and 1,000 times; None without a budget.
    """

    size: int
    rows: int
    text: OnText
    rarely_seen: tuple[float, float] | None
    cost: Cost

    @property
    def tokens_per_character(self) -> float:
        """Of the text."""
        return self.text.per_character.value

    @property
    def ratio(self) -> float:
        """Tokens, of those of the base."""
        return self.text.ratio.value

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "size": self.size,
            "rows": self.rows,
            "tokens_per_character": self.tokens_per_character,
            "interval": [self.text.per_character.low, self.text.per_character.high],
            "ratio": self.ratio,
            "ratio_interval": [self.text.ratio.low, self.text.ratio.high],
            "rarely_seen": None
            if self.rarely_seen is None
            else dict(zip(("100", "1000"), self.rarely_seen, strict=True)),
            **self.cost.to_json(),
        }


def sizes_of(
    points: Sequence[Point], rows: Sequence[int], shape: Shape, budget_tokens: float | None = None
) -> list[Size]:
    """Return the points of a size curve with their costs, by the last of their texts.

    rows: of the vocabulary matrices at each point, padded.
    """
    before = points[0].texts[-1].per_character.value
    found = []
    for point, row in zip(points, rows, strict=True):
        seen = None
        if budget_tokens and point.size:
            seen = (point.rarely_seen(budget_tokens, TIMES), point.rarely_seen(budget_tokens, 10 * TIMES))
        text = point.texts[-1]
        cost = cost_of(shape, row, before, text.per_character.value)
        found.append(Size(point.size, row, text, seen, cost))
    return found


def knee_of(curve: Sequence[Size]) -> int:
    """Return the place of the size to take: the knee of the net cost, 0 when every size costs more than it saves."""
    return knee([size.size for size in curve], [size.cost.net for size in curve])


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
