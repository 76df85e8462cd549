"""Linear layers whose weights are held in 8 or 4 bits, for reading and writing text, not for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from vocabkit_kernels import (
    Int4Weight,
    Int8Weight,
    NF4Weight,
    int4_linear,
    int4_quantize,
    int8_linear,
    int8_quantize,
    nf4_linear,
    nf4_quantize,
)

from vocabkit.model.experts import split_experts

# What a weight can be held in.
FORMATS = ("int8", "int4", "nf4")
# Of the head, by which every word is chosen, whatever the body is held in.
HEAD_FORM = "int8"
# Values that share an absmax, or a step.
NF4_BLOCK, INT4_GROUP = 64, 32

# Layers that read the same input, side by side in a model's attention and MLP.
TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))

Weight = Int8Weight | Int4Weight | NF4Weight


class PackedLinear(nn.Module):
    """x W^T + bias of a weight in few bits.  weight: W, [out, in].  bias: [out]."""

    def __init__(self, weight: Weight, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = weight
        self.bias: Tensor | None
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, [*, out]."""
        weight, bias = self.packed, self.bias
        if isinstance(weight, Int8Weight):
            return int8_linear(x, weight, bias=bias)
        if isinstance(weight, Int4Weight):
            return int4_linear(x, weight, bias=bias)
        return nf4_linear(x, weight, bias=bias)

    def extra_repr(self) -> str:
        """Say in the module's repr what it holds."""
        return f"{type(self.packed).__name__}, {list(self.packed.shape)}"


def packed(weight: Tensor | NF4Weight, form: str) -> Weight | None:
    """Return a weight [out, in] in another format; None where its width does not fit the format.

    form: one of FORMATS.  A weight in NF4 becomes int8 when int4 is asked for: both errors would add up.
    """
    if form == "int8" or (form == "int4" and isinstance(weight, NF4Weight)):
        return int8_quantize(weight)
    if isinstance(weight, NF4Weight):
        return weight
    if form == "int4":
        return int4_quantize(weight, INT4_GROUP) if weight.shape[1] % INT4_GROUP == 0 else None
    return nf4_quantize(weight, NF4_BLOCK) if weight.shape[1] % NF4_BLOCK == 0 else None


def linear_layers(model: Any) -> dict[str, nn.Module]:
    """Return every linear layer of a model by its name, the head's too."""
    return {name: module for name, module in model.named_modules() if isinstance(module, (nn.Linear, PackedLinear))}


def replace_layers(model: Any, made: Callable[[str, nn.Module], nn.Module | None]) -> None:
    """Put what `made` returns for a linear layer in its place, one after the other; None leaves it."""
    for name, module in linear_layers(model).items():
        new = made(name, module)
        if new is not None:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, new)


def pack_layers(model: Any, form: str) -> None:
    """Hold the weights of all linear layers of a model in `form`, experts' too; those that do not fit stay."""
    split_experts(model)
    head = model.get_output_embeddings()

    def made(_: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, PackedLinear):
            if not isinstance(module.packed, NF4Weight):
                return None
            weight: Any = module.packed
        else:
            weight = module.weight.detach()  # type: ignore[operator]
        new = packed(weight, HEAD_FORM if module is head else form)
        return None if new is None or new is weight else PackedLinear(new, module.bias)  # type: ignore[arg-type]

    with torch.no_grad():
        replace_layers(model, made)


class Together:
    """Layers of one input as one product.  weight: their rows one below the other.  sizes: how many each has."""

    def __init__(self, weight: Int8Weight, bias: Tensor | None, sizes: Sequence[int]) -> None:
        self.weight, self.bias, self.sizes = weight, bias, list(sizes)
        self._input: Tensor | None = None
        self._left: dict[int, Tensor] = {}

    def part(self, x: Tensor, number: int) -> Tensor:
        """Return what layer `number` makes of x; the others' are kept until they are asked for."""
        if self._input is not x or number not in self._left:
            made = int8_linear(x, self.weight, bias=self.bias)
            self._input, self._left = x, dict(enumerate(torch.split(made, self.sizes, -1)))
        found = self._left.pop(number)
        if not self._left:
            self._input = None
        return found


class PartLinear(PackedLinear):
    """One of several layers that are computed together.  Two threads must not run one model."""

    def __init__(self, together: Together, number: int) -> None:
        nn.Module.__init__(self)
        first = sum(together.sizes[:number])
        rows = slice(first, first + together.sizes[number])
        # Views: nothing is stored twice.
        self.packed = Int8Weight(together.weight.values[rows], together.weight.scale[rows])
        self.bias = None if together.bias is None else together.bias[rows]
        self.together, self.number = together, number

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, [*, out]."""
        return self.together.part(x, self.number)


def share_inputs(model: Any) -> None:
    """Compute int8 layers of one input together: fewer and larger products, where small models lose their time."""
    for module in list(model.modules()):
        for names in TOGETHER:
            layers: list[Any] = [getattr(module, name, None) for name in names]
            if not all(type(one) is PackedLinear and isinstance(one.packed, Int8Weight) for one in layers):
                continue
            biases = [one.bias for one in layers]
            if len({bias is None for bias in biases}) != 1:
                continue
            weights: list[Any] = [one.packed for one in layers]
            whole = Int8Weight(torch.cat([one.values for one in weights]), torch.cat([one.scale for one in weights]))
            bias = None if biases[0] is None else torch.cat(biases)
            together = Together(whole, bias, [one.shape[0] for one in weights])
            for number, name in enumerate(names):
                setattr(module, name, PartLinear(together, number))
