"""Whether a candidate is worse than its base on text of the base's language: predicted worse, or segmented anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vocabkit.measure.paired import Interval, loss_over_lines
from vocabkit.tokenizer.base import Tokenizer

EXAMPLES = 5


@dataclass(frozen=True)
class Segmentation:
    """How many lines get other ids.  allowed: how many may.  examples: the first of those that do."""

    lines: int
    changed: int
    allowed: int
    examples: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no more lines changed than allowed."""
        return self.changed <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "ok": self.ok, "lines": self.lines, "changed": self.changed, "allowed": self.allowed,
            "examples": list(self.examples),
        }  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """Bits per byte of both models.  loss: candidate / base - 1 with its interval.  limit: the greatest loss allowed.

    The loss itself is compared with the limit; `is_resolved` says whether its interval leaves the limit out.
    """

    base: float
    candidate: float
    loss: Interval
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the loss is within the limit; one that is no number is not."""
        return self.loss.value <= self.limit

    @property
    def is_resolved(self) -> bool:
        """Whether other lines of this kind would hardly decide otherwise."""
        return self.loss.against(self.limit) in ("above", "below")

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "ok": self.ok, "base": self.base, "candidate": self.candidate, "loss": self.loss.value,
            "low": self.loss.low, "high": self.loss.high, "limit": self.limit, "resolved": self.is_resolved,
        }  # fmt: skip


def segmentation(base: Tokenizer, candidate: Tokenizer, lines: Sequence[str], allowed: float) -> Segmentation:
    """Count the lines that the two tokenizers turn into different ids.

    allowed: how many may be, as a share of the lines when it is below 1.
    """
    pairs = zip(lines, base.encode(lines), candidate.encode(lines), strict=True)
    changed = [line for line, old, new in pairs if old != new]
    # 0.29 * 100 is a hair below 29.
    most = int(allowed * len(lines) + 1e-9) if allowed < 1 else int(min(allowed, len(lines)))
    return Segmentation(len(lines), len(changed), most, tuple(changed[:EXAMPLES]))


def prediction(base: Sequence[float], candidate: Sequence[float], lines: Sequence[str], limit: float) -> Prediction:
    """Compare the bits that the same lines cost two models.  limit: the share by which they may rise."""
    size = sum(len(line.encode()) for line in lines)
    return Prediction(sum(base) / size, sum(candidate) / size, loss_over_lines(base, candidate), limit)
