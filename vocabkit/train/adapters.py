"""Linear layers with low-rank adapters, over dense weights or weights in 4 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from vocabkit_kernels import LoRAWeight, NF4Weight, lora_linear, lora_linears, nf4_quantize

from vocabkit.errors import VocabkitError
from vocabkit.model.experts import is_experts, is_known

BLOCKSIZE = 64
# Mixtral's names of an expert's matrices: gate, down, up.
EXPERTS = ("w1", "w2", "w3")
# Of a weight in 4 bits, as a module's buffers.
PARTS = ("packed", "absmax", "code", "nested_absmax", "offset")


class LowRank(nn.Module):
    """The two matrices of an adapter, in float32: a [rank, in], b [out, rank]; for experts [experts, ...].

    b begins with zeros, so that an adapter begins as nothing, and a as a linear layer does.
    """

    def __init__(self, into: int, out: int, rank: int, scale: float, experts: int | None = None) -> None:
        super().__init__()
        count = () if experts is None else (experts,)
        self.scale = scale
        self.a = nn.Parameter(torch.empty(*count, rank, into, dtype=torch.float32))
        self.b = nn.Parameter(torch.zeros(*count, out, rank, dtype=torch.float32))
        for matrix in self.a if experts else (self.a,):
            # Source: Hu et al., "LoRA"; what PEFT draws.
            nn.init.kaiming_uniform_(matrix, a=5**0.5)


@dataclass(frozen=True)
class Adapting:
    """Which layers get adapters, and of what shape.

    targets: the last parts of names; "all-linear" is every one.  scale: of the adapter's product.
    quantize: frozen layers in 4 bits, where their width is a multiple of 64; on `device`, which is quicker.
    """

    targets: frozenset[str]
    rank: int = 8
    scale: float = 1.0
    dropout: float = 0.0
    quantize: bool = False
    device: str = "cpu"

    def wants(self, name: str) -> bool:
        """Return whether layers of this name get adapters."""
        return name in self.targets or "all-linear" in self.targets

    def adapter(self, into: int, out: int, experts: int | None = None) -> LowRank:
        """Return a new adapter."""
        return LowRank(into, out, self.rank, self.scale, experts)


class FrozenLinear(nn.Module):
    """x W^T + bias of a frozen weight, dense or in 4 bits, with an adapter if it has one.

    weight: [out, in]; in 4 bits its parts are buffers.
    """

    def __init__(self, linear: nn.Linear, how: Adapting, adapter: LowRank | None) -> None:
        super().__init__()
        self.into, self.out = linear.in_features, linear.out_features
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)
        self.adapter, self.dropout = adapter, how.dropout
        self.weight: nn.Parameter | None = None
        self._dtype = linear.weight.dtype
        fits = how.quantize and self.into % BLOCKSIZE == 0
        if fits and not linear.weight.is_meta:
            hold(self, "", nf4_quantize(linear.weight.detach().to(how.device), BLOCKSIZE))
        elif fits:
            self.register_buffer("packed", torch.empty(self.out, self.into // 2, dtype=torch.uint8, device="meta"))
        else:
            self.weight = nn.Parameter(linear.weight.detach(), requires_grad=False)

    @property
    def frozen(self) -> Tensor | NF4Weight:
        """The weight without its adapter."""
        return self.weight if self.weight is not None else held(self, "", self._dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, [*, out]."""
        if self.adapter is None and self.weight is not None:
            return nn.functional.linear(x, self.weight, self.bias)
        if self.adapter is None:
            # An adapter of rank 0: gradients flow through a weight that is dequantised again.
            a, b, scale = x.new_empty(0, self.into), x.new_empty(self.out, 0), 1.0
        else:
            a, b, scale = self.adapter.a, self.adapter.b, self.adapter.scale
        dropout = self.dropout if self.training else 0.0
        return lora_linear(x, self.frozen, a, b, scale, dropout=dropout, bias=self.bias)


def hold(module: nn.Module, prefix: str, weight: NF4Weight) -> None:
    """Keep the parts of a weight in 4 bits as buffers of a module, so that they move and are counted with it."""
    for name, part in zip(PARTS, weight.parts[:5], strict=True):
        module.register_buffer(f"{prefix}{name}", part, persistent=False)


def held(module: nn.Module, prefix: str, dtype: torch.dtype) -> NF4Weight:
    """Return the weight that `hold` kept."""
    packed, absmax, *nested = (getattr(module, f"{prefix}{name}") for name in PARTS)
    code, nested_absmax, offset = nested
    return NF4Weight.of_parts(packed, absmax, code, nested_absmax, offset, BLOCKSIZE, dtype)


def attach(model: Any, how: Adapting) -> dict[str, LowRank]:
    """Freeze every linear layer of the body, give adapters to the targets, and return those by their layer's name.

    Linear layers, routers ("gate") and experts ("w1", "w2", "w3") of mixtures are known.
    Raises VocabkitError for a target that the model does not have.
    """
    body, prefix, seen = model.base_model, model.base_model_prefix, set()
    found: dict[str, LowRank] = {}
    for name, module in list(body.named_modules()):
        parent_name, _, last = name.rpartition(".")
        parent = body.get_submodule(parent_name)
        if isinstance(module, nn.Linear):
            seen.add(last)
            adapter = how.adapter(module.in_features, module.out_features) if how.wants(last) else None
            setattr(parent, last, FrozenLinear(module, how, adapter))
        elif _is_router(last, module):
            seen.add("gate")
            rows, width = module.weight.shape
            adapter = how.adapter(width, rows) if how.wants("gate") else None
            if adapter is not None:
                parametrize.register_parametrization(module, "weight", _Sum(adapter), unsafe=True)
        elif is_experts(module):
            seen |= set(EXPERTS)
            if not (how.quantize or any(how.wants(one) for one in EXPERTS)):
                continue
            if not is_known(module):
                raise VocabkitError(
                    f"experts of the kind {type(module).__name__} compute something else than Mixtral's; they can "
                    f"have neither adapters nor 4 bits"
                )
            experts = Experts(module, how)
            setattr(parent, last, experts)
            found |= {f"{prefix}.{name}.{one}": adapter for one, adapter in experts.adapters.items()}  # type: ignore[misc]
            continue
        else:
            continue
        if adapter is not None:
            found[f"{prefix}.{name}"] = adapter
    missing = sorted(how.targets - seen - {"all-linear"})
    if missing:
        raise VocabkitError(
            f"the model has no linear layers called {', '.join(missing)}; it has {', '.join(sorted(seen)) or 'none'}"
        )
    return found


class _Sum(nn.Module):
    """W + scale B A: of a router, which has so few rows that the sum costs nothing."""

    def __init__(self, adapter: LowRank) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.adapter.scale * (self.adapter.b @ self.adapter.a).to(weight.dtype)


def _is_router(name: str, module: Any) -> bool:
    """Whether a module chooses experts: `gate`, with a weight [experts, width] of its own."""
    return name == "gate" and isinstance(getattr(module, "weight", None), nn.Parameter) and hasattr(module, "top_k")


class Experts(nn.Module):
    """Experts of a mixture, with an adapter for each of their three matrices, over dense weights or 4 bits.

    gate_up: [experts, 2 * inner, width].  down: [experts, width, inner].  adapters: "w1" (gate), "w3" (up), "w2".
    """

    def __init__(self, module: Any, how: Adapting) -> None:
        super().__init__()
        gate_up, down = module.gate_up_proj, module.down_proj
        self.count, self.width, self.inner = gate_up.shape[0], gate_up.shape[2], down.shape[2]
        self.dropout = how.dropout
        self.act_fn = module.act_fn
        sizes = {"w1": (self.width, self.inner), "w3": (self.width, self.inner), "w2": (self.inner, self.width)}
        self.adapters = nn.ModuleDict(
            {name: how.adapter(*sizes[name], self.count) for name in EXPERTS if how.wants(name)}
        )
        self._dtype = gate_up.dtype
        self.is_quantized = how.quantize and self.width % BLOCKSIZE == 0 and self.inner % BLOCKSIZE == 0
        if not self.is_quantized:
            self.gate_up_proj = nn.Parameter(gate_up.detach(), requires_grad=False)
            self.down_proj = nn.Parameter(down.detach(), requires_grad=False)
            return
        for name, matrix in (("gate_up", gate_up), ("down", down)):
            if matrix.is_meta:
                shape = (*matrix.shape[:2], matrix.shape[2] // 2)
                self.register_buffer(f"{name}_packed", torch.empty(shape, dtype=torch.uint8, device="meta"))
                continue
            for i, one in enumerate(matrix.detach()):
                hold(self, f"{name}_{i}_", nf4_quantize(one.to(how.device), BLOCKSIZE))

    def weights(self, expert: int) -> tuple[LoRAWeight, LoRAWeight]:
        """Return both matrices of an expert with their adapters, of which those of gate and up are one."""
        if self.is_quantized:
            gate_up: Any = held(self, f"gate_up_{expert}_", self._dtype)
            down: Any = held(self, f"down_{expert}_", self._dtype)
        else:
            gate_up, down = self.gate_up_proj[expert], self.down_proj[expert]
        return self._with(gate_up, ("w1", "w3"), expert), self._with(down, ("w2",), expert)

    def _with(self, weight: Any, names: tuple[str, ...], expert: int) -> LoRAWeight:
        parts: list[tuple[Tensor, Tensor]] = []
        scale, rows = 1.0, weight.shape[0] // len(names)
        for number, name in enumerate(names):
            if name in self.adapters:
                adapter: Any = self.adapters[name]
                scale = adapter.scale
                b = adapter.b[expert]
                # Of the rows that the matrix holds of the others, nothing.
                above, below = number * rows, (len(names) - 1 - number) * rows
                parts.append((adapter.a[expert], nn.functional.pad(b, (0, 0, above, below))))
        if not parts:
            nothing = torch.empty(0, device=weight.device)
            return LoRAWeight(
                weight, nothing.view(0, 1).expand(0, weight.shape[1]), nothing.view(1, 0).expand(weight.shape[0], 0)
            )
        return LoRAWeight(weight, torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts], 1), scale)

    def forward(self, hidden: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """Return the sum of the chosen experts' outputs, [tokens, width].

        hidden: [tokens, width].  top_k_index, top_k_weights: [tokens, k], the experts of a token and their weights.
        """
        out, act = torch.zeros_like(hidden), cast("Callable[[Tensor], Tensor]", self.act_fn)
        dropout = self.dropout if self.training else 0.0
        for expert in range(self.count):
            token, place = (top_k_index == expert).nonzero(as_tuple=True)
            gate_up, down = self.weights(expert)
            (both,) = lora_linears(hidden[token], [gate_up], dropout=dropout)
            gate, up = both.chunk(2, -1)
            (made,) = lora_linears(act(gate) * up, [down], dropout=dropout)
            out = out.index_add(0, token, (made * top_k_weights[token, place, None]).to(out.dtype))
        return out
