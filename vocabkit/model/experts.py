"""Experts of a mixture as layers of their own, so that whatever holds a layer in few bits holds them too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn


def is_experts(module: Any) -> bool:
    """Whether a module holds the matrices of all experts in one tensor each, as transformers 5 does."""
    matrices = (getattr(module, "gate_up_proj", None), getattr(module, "down_proj", None))
    return all(isinstance(matrix, nn.Parameter) and matrix.dim() == 3 for matrix in matrices)


def is_known(module: Any) -> bool:
    """Whether experts make act(gate) * up of gate and up, as Mixtral's do and transformers' by default."""
    gate = getattr(module, "_apply_gate", None)
    return hasattr(module, "act_fn") and (gate is None or getattr(gate, "__name__", "") == "_default_apply_gate")


class Expert(nn.Module):
    """One expert: three linear layers under the names that dense models give theirs."""

    def __init__(self, gate: Tensor, up: Tensor, down: Tensor, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = _linear(gate), _linear(up), _linear(down)
        self.act_fn = act

    def forward(self, x: Tensor) -> Tensor:
        """Return what the expert makes of x, [*, width]."""
        made: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return made


class Experts(nn.ModuleList):
    """All experts of a layer, in the place of a module that holds them in one tensor.

    The layers are views of its tensors; nothing is copied.
    """

    def __init__(self, module: Any) -> None:
        inner = module.down_proj.shape[2]
        super().__init__(
            Expert(both[:inner], both[inner:], down, module.act_fn)
            for both, down in zip(module.gate_up_proj.detach(), module.down_proj.detach(), strict=True)
        )

    def forward(self, hidden: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """Return the sum of the chosen experts' outputs, [tokens, width].

        hidden: [tokens, width].  top_k_index, top_k_weights: [tokens, k], the experts of a token and their weights.
        """
        out = torch.zeros_like(hidden)
        for number in torch.unique(top_k_index).tolist():
            token, place = (top_k_index == number).nonzero(as_tuple=True)
            made = cast("Expert", self[number])(hidden[token]) * top_k_weights[token, place, None]
            out.index_add_(0, token, made.to(out.dtype))
        return out


def split_experts(model: Any) -> None:
    """Make layers of their own of all experts that compute what Mixtral's do; other modules stay."""
    for name, module in list(model.named_modules()):
        if is_experts(module) and is_known(module):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, Experts(module))


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer
