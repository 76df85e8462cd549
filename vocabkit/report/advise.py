"""Say whether an extension pays: what was measured, what is arithmetic, and what nobody knows before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vocabkit.report.cost import Shape, break_even_characters
from vocabkit.report.literature import FINDINGS
from vocabkit.report.sizes import TIMES, Size, knee_of

# Ours, not the literature's: what a base may leave before extending it is worth a change of every row that is served.
COVERED = 1.3
# Of the new rows that a budget trains fewer than TIMES times, so many are too many.
STARVED = 0.05
# Below half a billion tokens, studies found extension to cost quality unless texts become this much shorter.
SMALL_BUDGET, LARGE_GAIN = 0.5e9, 2.5

AGAINST, FOR = "against", "for efficiency"
QUALITY = "unknown until `vocabkit ab` compares both on your text"


@dataclass(frozen=True)
class Advice:
    """verdict: "against" or "for efficiency".  size: new tokens to add, 0 when against.  reasons: a sentence each.

    break_even: characters until training has paid for itself; None without a budget or a gain.
    """

    verdict: str
    size: int
    reasons: tuple[str, ...]
    curve: tuple[Size, ...]
    break_even: float | None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "verdict": self.verdict,
            "size": self.size,
            "quality": QUALITY,
            "reasons": list(self.reasons),
            "break_even_characters": self.break_even,
            "curve": [size.to_json() for size in self.curve],
            "literature": [finding.to_json() for finding in FINDINGS],
        }


def advise(language: str, curve: Sequence[Size], shape: Shape, budget_tokens: float | None) -> Advice:
    """Return the advice that a curve supports.

    curve: ascending, the first without new tokens.
    """
    chosen = knee_of(curve)
    base, best, point = curve[0], curve[-1], curve[chosen]
    reach = 1 / best.ratio
    reasons = [
        f"the base takes {base.tokens_per_character:.3f} tokens for a character of {language}; with {best.size:,} "
        f"more it would be {best.tokens_per_character:.3f}, so a text has {reach:.2f} times as many as it could have"
    ]
    against = []
    if reach < COVERED:
        against.append(f"the base writes {language} well already: below {COVERED} times there is little to gain")
    elif not chosen:
        against.append("what a larger vocabulary costs is more than shorter texts save, at every size")
    if budget_tokens and point.rarely_seen and point.rarely_seen[0] > STARVED:
        against.append(
            f"{budget_tokens:,.0f} tokens of training would show {point.rarely_seen[0]:.0%} of {point.size:,} new "
            f"rows fewer than {TIMES} times; train on more, or add fewer"
        )
    if budget_tokens and budget_tokens < SMALL_BUDGET and reach >= COVERED and 1 / point.ratio < LARGE_GAIN:
        against.append(
            f"with fewer than {SMALL_BUDGET / 1e9:g} billion tokens of training, studies found worse models after "
            f"extension, and texts become only {1 / point.ratio:.2f} times shorter"
        )
    if against:
        return Advice(AGAINST, 0, (*reasons, *against), tuple(curve), None)
    cost = point.cost
    knee = "the knee" if chosen < len(curve) - 1 else "worth it"
    more = "twice as many would save less than 1 % more"
    if chosen == len(curve) - 1:
        more = "they are the most that were learned, and more of them may pay on more text"
    cache = cost.kv_bytes_per_character / base.cost.kv_bytes_per_character
    reasons.append(
        f"{point.size:,} tokens are {knee}: {1 - point.ratio:.0%} fewer tokens, {1 - cost.compute:.0%} less "
        f"compute and {1 - cache:.0%} less cache a character, for "
        f"{cost.new_parameters / 1e6:,.0f} M more parameters ({cost.memory - 1:.1%} more memory while they train); "
        f"{more}"
    )
    paid = None
    if budget_tokens:
        paid = break_even_characters(
            shape, point.rows, base.tokens_per_character, point.tokens_per_character, budget_tokens
        )
    if paid:
        reasons.append(
            f"training on {budget_tokens:,.0f} tokens has paid for itself in compute after {paid:.2g} characters"
        )
    return Advice(FOR, point.size, tuple(reasons), tuple(curve), paid)
