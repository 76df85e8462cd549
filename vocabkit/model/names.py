"""What tensors are called on disk, where transformers calls them something else in memory."""

from __future__ import annotations

# Of a layer's part, in memory and on disk: Mixtral's.
PLACES = (("", ""), (".mlp.", ".block_sparse_moe."))
# Of an expert's matrices (gate, down, up), on disk: Mixtral's, and those of Qwen and others.
EXPERT_NAMES = {"w1": ("w1", "gate_proj"), "w2": ("w2", "down_proj"), "w3": ("w3", "up_proj")}
