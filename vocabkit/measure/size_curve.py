"""How many tokens texts take with every beginning of a vocabulary: 0, 500, 1,000, 2,000 and so on new tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vocabkit.tokenizer.base import Tokenizer

FIRST = 500


@dataclass(frozen=True)
class Point:
    """With `size` new tokens; tokens: of each text, in the order of the texts."""

    size: int
    tokens: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the point as plain data."""
        return asdict(self)


def size_curve(
    base: Tokenizer,
    candidate: Tokenizer,
    size: int,
    prefix: Callable[[int], Tokenizer],
    texts: Sequence[Sequence[str]],
) -> list[Point]:
    """Return a point for each of `sizes(size)`; the last one is the candidate's own.

    prefix: number of tokens -> the base extended by as many, the first that were learned.
    Returns nothing when `prefix(size)` is another tokenizer than the candidate: it cuts the texts otherwise.
    """
    whole = prefix(size)
    if any(whole.encode(lines) != candidate.encode(lines) for lines in texts):
        return []

    def point(number: int, tokenizer: Tokenizer) -> Point:
        return Point(number, tuple(sum(map(len, tokenizer.encode(lines))) for lines in texts))

    between = (point(number, prefix(number)) for number in sizes(size)[1:-1])
    return [point(0, base), *between, point(size, candidate)]


def sizes(full: int) -> list[int]:
    """Return the sizes that are measured: 12000 -> [0, 500, 1000, 2000, 4000, 8000, 12000]."""
    found, number = [0], FIRST
    while number < full:
        found.append(number)
        number *= 2
    return [*found, full]
