"""What tensors are called on disk, where transformers calls them something else in memory."""

from __future__ import annotations

import re
from collections.abc import Container

# Of a layer's part, in memory and on disk: Mixtral's.
PLACES = (("", ""), (".mlp.", ".block_sparse_moe."))
# Of an expert's matrices (gate, down, up), on disk: Mixtral's, and those of Qwen and others.
EXPERT_NAMES = {"w1": ("w1", "gate_proj"), "w2": ("w2", "down_proj"), "w3": ("w3", "up_proj")}
# Of an expert's matrix in memory, where experts are layers of their own.
EXPERT = re.compile(r"(.*\.experts\.\d+)\.(gate|down|up)_proj\.weight")


def on_disk(name: str, stored: Container[str]) -> str | None:
    """Return what the tensor that is called `name` in memory is called among those stored; None where it is not."""
    for before, after in PLACES:
        place = name.replace(before, after) if before else name
        names = [place]
        if match := EXPERT.fullmatch(place):
            both = next(both for both in EXPERT_NAMES.values() if both[1] == f"{match[2]}_proj")
            names = [f"{match[1]}.{one}.weight" for one in both]
        for one in names:
            if one in stored:
                return one
    return None
