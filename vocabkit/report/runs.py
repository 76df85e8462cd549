"""What a training run wrote down, as curves: read from its metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError

METRICS = "metrics.jsonl"
MOST_POINTS = 240

Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class RunCurves:
    """One run, each curve as (step, value).

    loss: nats a token.  trained: bits per byte of the steps' own texts.
    evaluated: name of a held-out text ("target", "base") -> bits per byte.
    new_tokens: share of the learned ids that are new.
    """

    name: str
    steps: int
    loss: Curve
    trained: Curve
    evaluated: dict[str, Curve]
    new_tokens: Curve


def read_run(folder: Path) -> RunCurves:
    """Return the curves of a run, thinned to 240 points each; raises VocabkitError when it has no steps."""
    path = folder / METRICS
    if not path.is_file():
        raise VocabkitError(f"{folder} holds no {METRICS}; name the folder of a run, as `vocabkit train -o` wrote it")
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # half a line, of a run that was killed
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    if not any("loss" in row for row in rows):
        raise VocabkitError(f"{path} holds no step yet; train further")
    evaluated: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        found = row.get("evaluated")
        for name, value in found.items() if isinstance(found, dict) else ():
            if _is_number(value):
                evaluated.setdefault(str(name), []).append((row["step"], value))
    return RunCurves(
        folder.resolve().name,
        max(row["step"] for row in rows),
        _curve(rows, "loss"),
        _curve(rows, "bits_per_byte"),
        {name: thinned(values) for name, values in evaluated.items()},
        _curve(rows, "new_tokens"),
    )


def thinned(points: Sequence[tuple[float, float]]) -> Curve:
    """Return at most 240 points: the means of neighbours, the first and the last as they are."""
    if len(points) <= MOST_POINTS:
        return tuple(points)
    inner = points[1:-1]
    width = -(-len(inner) // (MOST_POINTS - 2))
    groups = [inner[start : start + width] for start in range(0, len(inner), width)]
    means = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return (points[0], *means, points[-1])


def _curve(rows: Sequence[dict[str, Any]], name: str) -> Curve:
    return thinned([(row["step"], row[name]) for row in rows if _is_number(row.get(name))])


def _is_number(value: object) -> bool:
    # A loss that broke down is written as NaN.
    return isinstance(value, int | float) and value == value and abs(value) != float("inf")
