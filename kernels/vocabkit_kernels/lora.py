"""Linear layers with low-rank adapters: a frozen weight, dense or in 4 bits, and two small matrices that train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vocabkit_kernels.backend import in_autocast, on_device_of, use_triton, without_autocast
from vocabkit_kernels.dequantize import nf4_dequantize
from vocabkit_kernels.nf4 import FLOATS, NF4Weight
from vocabkit_kernels.routes import AdapterRoute, adapter_route_for, name_of

# Ranks above which dY is read twice: what programs add up, in float32, would be more than it.
ONE_PASS_RANK = 64


@dataclass(frozen=True)
class LoRAWeight:
    """W + scale B A.  weight: [N, K], frozen, dense or NF4.  a: [r, K].  b: [N, r].  bias: [N]."""

    weight: Tensor | NF4Weight
    a: Tensor
    b: Tensor
    scale: float = 1.0
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        check_adapter(tuple(self.weight.shape), self.a, self.b, self.bias)


def check_adapter(shape: tuple[int, ...], a: Tensor | None, b: Tensor | None, bias: Tensor | None) -> None:
    """Raise ValueError unless a [r, K], b [N, r] and bias [N] fit a weight of `shape` (N, K)."""
    rows, columns = shape
    if a is not None and b is not None and (a.shape[1] != columns or tuple(b.shape) != (rows, len(a))):
        raise ValueError(
            f"a {list(a.shape)} and b {list(b.shape)} do not fit a weight of {[rows, columns]}; "
            f"they are [rank, {columns}] and [{rows}, rank]"
        )
    if bias is not None and tuple(bias.shape) != (rows,):
        raise ValueError(f"a bias of {list(bias.shape)} does not fit {rows} rows")


def flattened(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return x [*, K] as [M, K] without gradients, cast under torch.autocast; ValueError unless it fits (N, K)."""
    x = in_autocast(x)
    if x.dtype not in FLOATS:
        raise ValueError(f"x is {x.dtype}; use float32, float16 or bfloat16")
    if x.shape[-1] != shape[1]:
        raise ValueError(f"x {list(x.shape)} does not fit a weight of {list(shape)}")
    return x.detach().reshape(-1, shape[1])


def lora_linear(
    x: Tensor,
    weight: Tensor | NF4Weight,
    a: Tensor,
    b: Tensor,
    scale: float = 1.0,
    *,
    dropout: float = 0.0,
    seed: int | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Return x W^T + scale (drop(x) A^T) B^T + bias, [*, N]; differentiable in x, a, b and bias.

    x: [*, K].  weight: [N, K], no gradient.  a: [r, K], b: [N, r], in any float type; products are in that of x.
    dropout: the share of values of x that the adapter does not see, the others scaled up; seed makes it repeatable.
    Kept for the backward pass: x and x A^T [*, r]; the weight is dequantised again, and the mask drawn again.
    Under torch.autocast x is cast as for any product.  It has no second derivative.
    Source: Hu et al., "LoRA", ICLR 2022.
    Raises ValueError for shapes that do not fit.
    """
    (made,) = lora_linears(x, [LoRAWeight(weight, a, b, scale, bias)], dropout=dropout, seed=seed)
    return made


def lora_linears(
    x: Tensor, weights: Sequence[LoRAWeight], *, dropout: float = 0.0, seed: int | None = None
) -> tuple[Tensor, ...]:
    """Return `lora_linear` of one x with several weights: q, k and v, or gate and up.

    x is read once for all adapters, forward and backward; one dropout mask serves them all.
    """
    if not weights:
        return ()
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout {dropout} is not from 0 to below 1")
    x = in_autocast(x)
    width = weights[0].weight.shape[1]
    if x.shape[-1] != width or any(weight.weight.shape[1] != width for weight in weights):
        found = [list(weight.weight.shape) for weight in weights]
        raise ValueError(f"x {list(x.shape)} does not fit weights of {', '.join(map(str, found))}")
    if dropout and seed is None:
        seed = int(torch.randint(0, 2**62, ()))
    learned = [part for weight in weights for part in (weight.a, weight.b, weight.bias)]
    flat = x.reshape(-1, width)
    apply: Any = _LoRALinears.apply
    made: tuple[Tensor, ...] = apply(flat, tuple(weights), dropout, seed or 0, *learned)
    return tuple(part.view(*x.shape[:-1], part.shape[1]) for part in made)


def merge_lora(weight: Tensor | NF4Weight, adapters: Sequence[tuple[Tensor, Tensor, float]]) -> Tensor:
    """Return W + sum_i scale_i B_i A_i, [N, K], added in order in float32 and rounded once to the weight's type.

    adapters: (a [r, K], b [N, r], scale) of each.  The weight itself is left as it is.
    """
    total = _dense(weight, torch.promote_types(weight.dtype, torch.float32))
    total = total.clone() if isinstance(weight, Tensor) else total
    for a, b, scale in adapters:
        LoRAWeight(weight, a, b, scale)
        total.addmm_(b.to(total.dtype), a.to(total.dtype), alpha=scale)
    return total.to(weight.dtype)


class _LoRALinears(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weights: tuple[LoRAWeight, ...], dropout: float, seed: int, *learned: Tensor | None
    ) -> tuple[Tensor, ...]:
        with without_autocast(x):
            a, b = _stacked_a(learned, x.dtype), [part.to(x.dtype) for part in learned[1::3] if part is not None]
            seen = x if not dropout else x * _keep(x, dropout, seed)
            low = seen @ a.t()
            biases = [_as(bias, x.dtype) for bias in learned[2::3]]
            route = _route(x, sum(len(part) for part in b), low.shape[1])
            made = (_appended if route.appended else _added)(x, low, weights, b, biases)
            ctx.save_for_backward(x, low, *learned)
            ctx.settings = weights, dropout, seed, route.one_pass
            return tuple(made)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, low, *learned = ctx.saved_tensors
        with without_autocast(x):
            weights, dropout, seed, one_pass = ctx.settings
            keep = _keep(x, dropout, seed) if dropout else None
            slopes, found = [], []
            dx = None
            parts = zip(weights, gradients, _split(low, learned), learned[1::3], learned[2::3], strict=True)
            for weight, gradient, part, b, bias in parts:
                gradient = gradient.to(x.dtype)
                slope, db = (_both_slopes if one_pass else _slopes)(gradient, b.to(x.dtype), part)
                slopes.append(slope.mul_(weight.scale))
                db = db.mul_(weight.scale).to(b.dtype)
                found.append([None, db, None if bias is None else gradient.sum(0).to(bias.dtype)])
                if ctx.needs_input_grad[0]:
                    dense = _dense(weight.weight, x.dtype)
                    dx = gradient @ dense if dx is None else dx.addmm_(gradient, dense)
            slope = torch.cat(slopes, 1)
            if dx is not None:
                a = _stacked_a(learned, x.dtype)
                dx = dx.addmm_(slope, a) if keep is None else dx.addcmul_(slope @ a, keep)
            da = slope.t() @ (x if keep is None else x * keep)
            for row, part, a in zip(found, _split(da.t(), learned), learned[::3], strict=True):
                row[0] = part.t().to(a.dtype)
            return (dx, None, None, None, *[part for row in found for part in row])


def _route(x: Tensor, rows: int, rank: int) -> AdapterRoute:
    # A compiler that knows the number of places only as a symbol would compile anew for each.
    if torch.compiler.is_compiling():
        return AdapterRoute()
    return adapter_route_for(name_of(x.device), len(x), rows, x.shape[1], rank)


def _added(
    x: Tensor, low: Tensor, weights: Sequence[LoRAWeight], b: Sequence[Tensor], biases: Sequence[Tensor | None]
) -> list[Tensor]:
    """Return every x W^T + bias, to which low B^T is added: y is written, read and written again."""
    made, ranks = [], [part.shape[1] for part in b]
    for weight, part, height, bias in zip(weights, low.split_with_sizes(ranks, 1), b, biases, strict=True):
        base = torch.nn.functional.linear(x, _dense(weight.weight, x.dtype), bias)
        made.append(base.addmm_(part, height.t(), alpha=weight.scale))
    return made


def _appended(
    x: Tensor, low: Tensor, weights: Sequence[LoRAWeight], b: Sequence[Tensor], biases: Sequence[Tensor | None]
) -> list[Tensor]:
    """Return every [x | low] [W | scale B]^T + bias, one product each: y is written once, x is copied once for all.

    The columns of the other adapters are zeros, and as many more that rows begin at multiples of 16 bytes.
    """
    columns, rank = x.shape[1], low.shape[1]
    width = columns + -(-rank // 8) * 8
    wide = x.new_zeros(len(x), width)
    wide[:, :columns], wide[:, columns : columns + rank] = x, low
    made, first = [], columns
    for weight, height, bias in zip(weights, b, biases, strict=True):
        tall = x.new_zeros(len(height), width)
        if isinstance(weight.weight, NF4Weight) and x.dtype in FLOATS:
            nf4_dequantize(weight.weight, out=tall[:, :columns])
        else:
            tall[:, :columns] = _dense(weight.weight, x.dtype)
        tall[:, first : first + height.shape[1]] = height * weight.scale
        first += height.shape[1]
        made.append(torch.nn.functional.linear(wide, tall, bias))
    return made


def _slopes(gradient: Tensor, b: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """Return dY B [M, r] and dY^T S [N, r], unscaled."""
    return gradient @ b, gradient.t() @ low


@torch.library.custom_op("vocabkit::lora_slopes", mutates_args=())
def _both_slopes(gradient: Tensor, b: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """Return `_slopes`; on a GPU dY is read once, and what programs add up is added in order."""
    if not use_triton(gradient, b) or b.shape[1] > ONE_PASS_RANK or not gradient.numel():
        return _slopes(gradient, b, low)
    from vocabkit_kernels.jit.lora import launch

    with on_device_of(gradient):
        return launch(gradient.contiguous(), b.contiguous(), low)


@_both_slopes.register_fake
def _(gradient: Tensor, b: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    return gradient.new_empty(len(gradient), b.shape[1]), torch.empty_like(b)


def _dense(weight: Tensor | NF4Weight, dtype: torch.dtype) -> Tensor:
    """Return the weight in `dtype`; it is rounded at most once."""
    if isinstance(weight, Tensor):
        return weight.detach().to(dtype)
    if dtype == torch.float64:
        return nf4_dequantize(weight, torch.float32).double()
    return nf4_dequantize(weight, dtype)


def _as(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)


def _stacked_a(learned: Sequence[Tensor | None], dtype: torch.dtype) -> Tensor:
    parts = [part.to(dtype) for part in learned[::3] if part is not None]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _split(low: Tensor, learned: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """Return the columns of each adapter."""
    return torch.split_with_sizes(low, [len(part) for part in learned[::3] if part is not None], 1)


@torch.library.custom_op("vocabkit::dropout_mask", mutates_args=())
def _keep(x: Tensor, dropout: float, seed: int) -> Tensor:
    """Return 1 / (1 - dropout) where x is seen and 0 where not, drawn from `seed` alone."""
    generator = torch.Generator(x.device).manual_seed(seed)
    # 16 bits decide, so that one draw of 64 serves four values: on a CPU drawing takes longer than multiplying.
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    bits = drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[: x.numel()].view(x.shape)
    share = round(dropout * 2**16)
    return (bits >= share - 2**15).to(x.dtype).mul_(2**16 / (2**16 - share))


@_keep.register_fake
def _(x: Tensor, dropout: float, seed: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)
