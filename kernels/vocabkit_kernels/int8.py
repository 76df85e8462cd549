"""Linear layers in 8 bits a value: what a CPU multiplies fastest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vocabkit_kernels.dequantize import nf4_dequantize
from vocabkit_kernels.lora import check_adapter, flattened
from vocabkit_kernels.nf4 import SLAB_VALUES, NF4Weight

GREATEST = 127
# Places from which a CPU dequantises slab by slab and multiplies in x's own type: 8 ms instead of 16 for 512 places
# of a [1536, 576] weight on two AVX2 cores.
DENSE_FROM = 256


@dataclass(frozen=True)
class Int8Weight:
    """A weight [N, K]: values [N, K] int8, and scale [N] float32 for each row."""

    values: Tensor
    scale: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        return self.values.shape[0], self.values.shape[1]

    @cached_property
    def rounded_scale(self) -> Tensor:
        """The scale in bfloat16, as torch's product takes it."""
        return self.scale.to(torch.bfloat16)

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return self.values.nbytes + self.scale.nbytes


def int8_quantize(weight: Tensor | NF4Weight) -> Int8Weight:
    """Return `weight` [N, K] with each row divided by its greatest absolute value and rounded to -127 ... 127.

    An NF4 weight loses little by it: 0.8 % more error beside its own 9 %, and twice the bytes.  It is dequantised
    slab by slab, so the whole of it never exists in floating point.
    """
    rows, columns = weight.shape
    device = weight.device
    values = torch.empty(rows, columns, dtype=torch.int8, device=device)
    scale = torch.empty(rows, dtype=torch.float32, device=device)
    step = max(1, SLAB_VALUES // max(columns, 1))
    for first in range(0, rows, step):
        end = min(first + step, rows)
        if isinstance(weight, NF4Weight):
            slab = nf4_dequantize(weight, torch.float32, rows=(first, end))
        else:
            slab = weight[first:end].detach().float()
        greatest = slab.abs().amax(1) / GREATEST if columns else scale[first:end].zero_()
        scale[first:end] = greatest
        values[first:end] = (slab / greatest.clamp(min=1e-38)[:, None]).round_().to(torch.int8)
    return Int8Weight(values, scale)


def int8_linear(
    x: Tensor,
    weight: Int8Weight,
    *,
    bias: Tensor | None = None,
    lora: tuple[Tensor, Tensor, float] | None = None,
) -> Tensor:
    """Return x W^T + scale (x A^T) B^T + bias, [*, N], without gradients.

    x: [*, K] float32, float16 or bfloat16; on a CPU it is rounded to bfloat16, which alone is fast there.
    lora: (a [r, K], b [N, r], scale), multiplied in x's own type.
    Raises ValueError for shapes that do not fit.
    """
    flat = flattened(x, weight.shape)
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        made: Tensor = _int8_linear(flat, weight.values, weight.scale)
    else:
        # The way through an operator takes longer than a small product.
        made = _product(flat, weight.values, weight.scale, weight.rounded_scale)
    if bias is None and lora is None:
        return made.view(*x.shape[:-1], weight.shape[0])
    return with_adapter(made, flat, weight.shape, bias, lora).view(*x.shape[:-1], weight.shape[0])


def with_adapter(
    made: Tensor,
    x: Tensor,
    shape: tuple[int, int],
    bias: Tensor | None,
    lora: tuple[Tensor, Tensor, float] | None,
) -> Tensor:
    """Return made + scale (x A^T) B^T + bias, [M, N].  shape: (N, K).  Raises ValueError for what does not fit it."""
    a, b, scale = lora or (None, None, 1.0)
    check_adapter(shape, a, b, bias)
    if a is not None and b is not None:
        made = torch.addmm(made, x @ a.to(x.dtype).t(), b.to(x.dtype).t(), alpha=scale)
    return made if bias is None else made + bias.to(x.dtype)


@torch.library.custom_op("vocabkit::int8_linear", mutates_args=())
def _int8_linear(x: Tensor, values: Tensor, scale: Tensor) -> Tensor:
    return _product(x, values, scale, scale.to(torch.bfloat16))


def _product(x: Tensor, values: Tensor, scale: Tensor, rounded_scale: Tensor) -> Tensor:
    """Return x W^T, [M, N].  x: [M, K].  rounded_scale: `scale` in bfloat16."""
    # torch's own product in 8 bits; it is private, so it may go.
    packed = getattr(torch, "_weight_int8pack_mm", None)
    if packed is not None and not x.is_cuda and 0 < len(x) < DENSE_FROM and len(values):
        found: Tensor = packed(x.to(torch.bfloat16).contiguous(), values, rounded_scale)
        return found.to(x.dtype)
    out = torch.empty(len(x), len(values), dtype=x.dtype, device=x.device)
    if not out.numel():
        return out
    step = max(1, SLAB_VALUES // max(values.shape[1], 1))
    for first in range(0, len(values), step):
        part = slice(first, first + step)
        slab = (values[part].float() * scale[part, None]).to(x.dtype)
        torch.mm(x, slab.t(), out=out[:, part])
    return out


@_int8_linear.register_fake
def _(x: Tensor, values: Tensor, scale: Tensor) -> Tensor:
    del scale
    return x.new_empty(len(x), len(values))
