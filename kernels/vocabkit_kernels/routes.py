"""How `nf4_linear` and `lora_linears` are computed for a shape on a GPU: by a table measured there, else by a rule.

`benchmarks/tune.py` measures and writes the table; it ships in `tuned/<gpu>.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import log2
from pathlib import Path

import torch

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
class AdapterRoute:
    """appended: the adapter is further columns of the dequantised weight, of x its product with A; else it is added.

    one_pass: the slopes of x A^T and of B come from one reading of those of y; else from two products.
    """

    appended: bool = False
    one_pass: bool = False


@dataclass(frozen=True)
class Measured:
    """The best route for one shape.  rank: of the adapters together; 0 for a linear layer alone."""

    places: int
    rows: int
    columns: int
    route: Route | AdapterRoute
    rank: int = 0

    def distance(self, *shape: int) -> float:
        """Return how far (places, rows, columns[, rank]) is, in powers of two; places count twice."""
        mine = (self.places, self.rows, self.columns, self.rank)[: len(shape)]
        pairs = [*zip(mine, shape, strict=True), (self.places, shape[0])]
        return sum(abs(log2(max(one, 1)) - log2(max(other, 1))) for one, other in pairs)


@dataclass(frozen=True)
class Table:
    """What was measured on one GPU."""

    routes: tuple[Measured, ...] = ()
    adapters: tuple[Measured, ...] = ()


def route_for(gpu: str | None, places: int, rows: int, columns: int) -> Route:
    """Return the route of the nearest shape measured on `gpu`, a device's name; by the rule where there is none."""
    table = table_of(gpu).routes if gpu else ()
    if not table:
        return Route(fused=places <= FUSED_PLACES)
    nearest = min(table, key=lambda entry: entry.distance(places, rows, columns)).route
    assert isinstance(nearest, Route)
    return nearest


def adapter_route_for(gpu: str | None, places: int, rows: int, columns: int, rank: int) -> AdapterRoute:
    """Return the adapters' route of the nearest shape measured on `gpu`; plain products where there is none.

    rows and rank: of all layers that share an input together.
    """
    table = table_of(gpu).adapters if gpu else ()
    if not table:
        return AdapterRoute()
    nearest = min(table, key=lambda entry: entry.distance(places, rows, columns, rank)).route
    assert isinstance(nearest, AdapterRoute)
    return nearest


@cache
def table_of(gpu: str) -> Table:
    """Return what was measured on `gpu`; nothing when no table ships for it.

    Raises ValueError when the table cannot be read.
    """
    path = TUNED / f"{slug(gpu)}.json"
    if not path.exists():
        return Table()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kinds: tuple[tuple[str, type[Route] | type[AdapterRoute]], ...] = (
            ("routes", Route),
            ("adapters", AdapterRoute),
        )
        return Table(
            *(
                tuple(Measured(**row | {"route": kind(**row["route"])}) for row in found.get(name, ()))
                for name, kind in kinds
            )
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no table of routes ({error}); measure it anew with benchmarks/tune.py"
        ) from error


def write_table(gpu: str, about: dict[str, object], table: Table) -> Path:
    """Write what was measured on `gpu`; about: the environment it was measured in."""
    TUNED.mkdir(exist_ok=True)
    path = TUNED / f"{slug(gpu)}.json"
    sections = []
    for name, entries in (("routes", table.routes), ("adapters", table.adapters)):
        lines = ",\n".join(f"    {json.dumps(vars(entry) | {'route': vars(entry.route)})}" for entry in entries)
        sections.append(f'  "{name}": [\n{lines}\n  ]')
    head = json.dumps({"gpu": gpu, **about}, indent=2)[:-2]
    path.write_text(",\n".join([head, *sections]) + "\n}\n", encoding="utf-8")
    table_of.cache_clear()
    return path


@cache
def name_of(device: torch.device) -> str | None:
    """Return the name of the GPU; None for what is none."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def slug(gpu: str) -> str:
    """Return a device's name as a file's: "NVIDIA H200" -> "nvidia-h200"."""
    return "-".join(gpu.lower().replace("/", " ").split())
