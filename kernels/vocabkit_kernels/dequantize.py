"""NF4 back to floating point."""

from __future__ import annotations

import torch
from torch import Tensor

from vocabkit_kernels import reference
from vocabkit_kernels.backend import on_device_of, use_triton
from vocabkit_kernels.nf4 import FLOATS, NF4Weight


def nf4_dequantize(
    weight: NF4Weight,
    dtype: torch.dtype | None = None,
    *,
    rows: tuple[int, int] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return code[value] * absmax[block] for every value, rounded once: [N, K], the bits of bitsandbytes.

    dtype: float32, float16 or bfloat16; by default that of `out`, or what the weight was quantised from.
    rows: (first, end) of a slab; the result is [end - first, K].
    out: is written to and returned; its columns must be adjacent, its rows may lie apart.
    Reads 0.52 bytes and writes 2 for every value in 16 bits, in one launch, the 8-bit absmax included.
    Raises ValueError when dtype, rows or out do not fit.
    """
    first, end = rows or (0, weight.shape[0])
    dtype = dtype or (weight.dtype if out is None else out.dtype)
    if dtype not in FLOATS:
        raise ValueError(f"NF4 is dequantised to float32, float16 or bfloat16, not to {dtype}")
    if not 0 <= first <= end <= weight.shape[0]:
        raise ValueError(f"rows {first} to {end} are not within the weight's {weight.shape[0]}")
    shape = (end - first, weight.shape[1])
    if out is None:
        made: Tensor = _dequantize(*weight.parts, dtype, first, end)
        return made
    if tuple(out.shape) != shape or out.dtype != dtype or out.device != weight.device or out.stride(1) != 1:
        raise ValueError(
            f"out is {out.dtype} {list(out.shape)} on {out.device} with strides {out.stride()}; it must be {dtype} "
            f"{list(shape)} on {weight.device} with adjacent columns"
        )
    _dequantize_into(out, *weight.parts, first, end)
    return out


@torch.library.custom_op("vocabkit::nf4_dequantize", mutates_args=())
def _dequantize(
    packed: Tensor,
    absmax: Tensor,
    nested_code: Tensor | None,
    nested_absmax: Tensor | None,
    nested_offset: Tensor | None,
    blocksize: int,
    dtype: torch.dtype,
    first: int,
    end: int,
) -> Tensor:
    out = torch.empty(end - first, packed.shape[1] * 2, dtype=dtype, device=packed.device)
    parts = (packed, absmax, nested_code, nested_absmax, nested_offset, blocksize)
    _write(out, NF4Weight.of_parts(*parts, out.dtype), first, end)
    return out


@_dequantize.register_fake
def _(
    packed: Tensor,
    absmax: Tensor,
    nested_code: Tensor | None,
    nested_absmax: Tensor | None,
    nested_offset: Tensor | None,
    blocksize: int,
    dtype: torch.dtype,
    first: int,
    end: int,
) -> Tensor:
    return packed.new_empty(end - first, packed.shape[1] * 2, dtype=dtype)


@torch.library.custom_op("vocabkit::nf4_dequantize_into", mutates_args=("out",))
def _dequantize_into(
    out: Tensor,
    packed: Tensor,
    absmax: Tensor,
    nested_code: Tensor | None,
    nested_absmax: Tensor | None,
    nested_offset: Tensor | None,
    blocksize: int,
    first: int,
    end: int,
) -> None:
    parts = (packed, absmax, nested_code, nested_absmax, nested_offset, blocksize)
    _write(out, NF4Weight.of_parts(*parts, out.dtype), first, end)


def _write(out: Tensor, weight: NF4Weight, first: int, end: int) -> None:
    if not out.numel():
        return
    if use_triton(weight.packed, out):
        from vocabkit_kernels.jit.dequantize import launch

        with on_device_of(out):
            launch(out, weight, first, end)
        return
    blocks = weight.shape[1] // weight.blocksize
    scales = reference.absmax_of(weight, first * blocks, end * blocks)
    slab = NF4Weight(weight.packed[first:end], scales, (end - first, weight.shape[1]), out.dtype, weight.blocksize)
    out.copy_(reference.nf4_dequantize(slab))
