"""How fast tokenizers encode and decode, and how long learning takes on the same text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from vocabkit.tokenizer.base import Tokenizer


@dataclass(frozen=True)
class Speed:
    """One engine of one tokenizer; rates in MB of UTF-8 per second, medians over the runs."""

    tokenizer: str
    engine: str
    encode_mb_per_second: float
    decode_mb_per_second: float
    learn_seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def speed(
    tokenizers: Sequence[tuple[str, Tokenizer, int | None]],
    lines: Sequence[str],
    *,
    runs: int = 5,
    learn: Callable[[Tokenizer, Sequence[str]], None] | None = None,
) -> list[Speed]:
    """Return a row per engine; the engines take turns, so that a slow moment of the machine hits all alike.

    learn: what is timed as learning, once per tokenizer.
    """
    megabytes = sum(len(line.encode()) for line in lines) / 1e6
    jobs = [
        (name, engine, encode, tokenizer)
        for name, tokenizer, _ in tokenizers
        for engine, encode in tokenizer.engines.items()
    ]
    encoding: dict[int, list[float]] = {number: [] for number in range(len(jobs))}
    decoding: dict[int, list[float]] = {number: [] for number in range(len(jobs))}
    for _ in range(runs):
        for number, (_, _, encode, tokenizer) in enumerate(jobs):
            start = time.perf_counter()
            ids = encode(lines)
            middle = time.perf_counter()
            tokenizer.decode(ids)
            encoding[number].append(middle - start)
            decoding[number].append(time.perf_counter() - middle)
    rows = []
    learned: dict[str, float] = {}
    for number, (name, engine, _, tokenizer) in enumerate(jobs):
        if learn and name not in learned:
            learned[name] = _seconds(learn, tokenizer, lines)
        encode_rate, decode_rate = (megabytes / median(times[number]) for times in (encoding, decoding))
        rows.append(Speed(name, engine, round(encode_rate, 3), round(decode_rate, 3), learned.get(name)))
    return rows


def _seconds(learn: Callable[[Tokenizer, Sequence[str]], None], tokenizer: Tokenizer, lines: Sequence[str]) -> float:
    start = time.perf_counter()
    learn(tokenizer, lines)
    return round(time.perf_counter() - start, 3)
