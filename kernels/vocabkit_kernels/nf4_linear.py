"""A linear layer over a weight in 4 bits, for inference."""

from __future__ import annotations

import torch
from torch import Tensor

from vocabkit_kernels.backend import on_device_of, use_triton, without_autocast
from vocabkit_kernels.dequantize import nf4_dequantize
from vocabkit_kernels.lora import check_adapter, flattened
from vocabkit_kernels.nf4 import SLAB_VALUES, NF4Weight
from vocabkit_kernels.routes import name_of, route_for

# Ranks above which the adapter is added by a product of its own: the kernel holds all of it in shared memory.
FUSED_RANK = 128


def nf4_linear(
    x: Tensor,
    weight: NF4Weight,
    *,
    bias: Tensor | None = None,
    lora: tuple[Tensor, Tensor, float] | None = None,
) -> Tensor:
    """Return x W^T + scale (x A^T) B^T + bias, [*, N], without gradients; `lora_linear` has them.

    x: [*, K] float32, float16 or bfloat16.  lora: (a [r, K], b [N, r], scale).
    Where `routes` says so, up to about 1,000 places, the weight is read once, in 4 bits, and never exists in 16: 0.52
    bytes a value, not 4.5.  In float16 and bfloat16 the 16 values are rounded to that type before the absmax is
    multiplied in, in float32: as near to the exact product as dequantising, and not the same bits.
    Raises ValueError for shapes that do not fit.
    """
    a, b, scale = lora or (None, None, 1.0)
    check_adapter(weight.shape, a, b, bias)
    flat = flattened(x, weight.shape)
    with without_autocast(flat):
        made: Tensor = _nf4_linear(flat, *weight.parts, bias, a, b, scale)
    return made.view(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op("vocabkit::nf4_linear", mutates_args=())
def _nf4_linear(
    x: Tensor,
    packed: Tensor,
    absmax: Tensor,
    nested_code: Tensor | None,
    nested_absmax: Tensor | None,
    nested_offset: Tensor | None,
    blocksize: int,
    bias: Tensor | None,
    a: Tensor | None,
    b: Tensor | None,
    scale: float,
) -> Tensor:
    parts = (packed, absmax, nested_code, nested_absmax, nested_offset, blocksize)
    weight = NF4Weight.of_parts(*parts, x.dtype)
    rows = weight.shape[0]
    out = torch.empty(len(x), rows, dtype=x.dtype, device=x.device)
    if not out.numel():
        return out
    low = None if a is None else (x @ a.to(x.dtype).t()).mul_(scale)
    height = None if b is None else b.to(x.dtype).contiguous()
    added = None if bias is None else bias.to(x.dtype).contiguous()
    route = route_for(name_of(x.device), len(x), *weight.shape)
    if route.fused and use_triton(x, packed):
        from vocabkit_kernels.jit.nf4_linear import launch

        read = x if x.stride(-1) == 1 else x.contiguous()
        fused = height is None or height.shape[1] <= FUSED_RANK
        with on_device_of(out):
            launch(out, read, weight, added, low if fused else None, height if fused else None, route)
        return out if fused or low is None or height is None else out.addmm_(low, height.t())
    step = rows if x.is_cuda else max(1, SLAB_VALUES // weight.shape[1])
    for first in range(0, rows, step):
        end = min(first + step, rows)
        torch.mm(x, nf4_dequantize(weight, x.dtype, rows=(first, end)).t(), out=out[:, first:end])
    if low is not None and height is not None:
        out.addmm_(low, height.t())
    return out if added is None else out.add_(added)


@_nf4_linear.register_fake
def _(
    x: Tensor,
    packed: Tensor,
    absmax: Tensor,
    nested_code: Tensor | None,
    nested_absmax: Tensor | None,
    nested_offset: Tensor | None,
    blocksize: int,
    bias: Tensor | None,
    a: Tensor | None,
    b: Tensor | None,
    scale: float,
) -> Tensor:
    return x.new_empty(len(x), len(packed))
