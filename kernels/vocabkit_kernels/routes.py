"""How `nf4_linear` is computed for a shape on a GPU: by a table that was measured there, else by a rule.

`benchmarks/tune.py` measures and writes the table; it ships in `tuned/<gpu>.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import log2
from pathlib import Path

TUNED = Path(__file__).parent / "tuned"
# Without a table: places above which dequantising and a dense product are taken.
FUSED_PLACES = 1024


@dataclass(frozen=True)
class Route:
    """fused: one kernel reads the 4-bit weight; else it is dequantised for a dense product.

    rows, places: of the output that one program makes; places 0: the next power of two, 16 to 64.
    step: values of a row multiplied at a time, at most the blocksize.  parts: into how many K is divided; 0: as many
    as keep every processor at work.  warps, stages: Triton's.
    """

    fused: bool = True
    rows: int = 64
    places: int = 0
    step: int = 64
    parts: int = 0
    warps: int = 4
    stages: int = 4


@dataclass(frozen=True)
class Measured:
    """The best route for one shape."""

    places: int
    rows: int
    columns: int
    route: Route


def route_for(gpu: str | None, places: int, rows: int, columns: int) -> Route:
    """Return the route of the nearest shape measured on `gpu`, a device's name; by the rule where there is none.

    Near is the sum of the distances in powers of two, the number of places counting twice.
    """
    table = table_of(gpu) if gpu else ()
    if not table:
        return Route(fused=places <= FUSED_PLACES)

    def distance(entry: Measured) -> float:
        pairs = ((entry.places, places), (entry.places, places), (entry.rows, rows), (entry.columns, columns))
        return sum(abs(log2(max(one, 1)) - log2(max(other, 1))) for one, other in pairs)

    return min(table, key=distance).route


@cache
def table_of(gpu: str) -> tuple[Measured, ...]:
    """Return what was measured on `gpu`; nothing when no table ships for it.

    Raises ValueError when the table cannot be read.
    """
    path = TUNED / f"{slug(gpu)}.json"
    if not path.exists():
        return ()
    try:
        return tuple(
            Measured(row["places"], row["rows"], row["columns"], Route(**row["route"]))
            for row in json.loads(path.read_text(encoding="utf-8"))["routes"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no table of routes ({error}); measure it anew with benchmarks/tune.py"
        ) from error


def write_table(gpu: str, about: dict[str, object], table: Sequence[Measured]) -> Path:
    """Write what was measured on `gpu`; about: the environment it was measured in."""
    TUNED.mkdir(exist_ok=True)
    path = TUNED / f"{slug(gpu)}.json"
    rows = [{"places": m.places, "rows": m.rows, "columns": m.columns, "route": vars(m.route)} for m in table]
    lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
    head = json.dumps({"gpu": gpu, **about}, indent=2)[:-2]
    path.write_text(f'{head},\n  "routes": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
    table_of.cache_clear()
    return path


def slug(gpu: str) -> str:
    """Return a device's name as a file's: "NVIDIA H200" -> "nvidia-h200"."""
    return "-".join(gpu.lower().replace("/", " ").split())
