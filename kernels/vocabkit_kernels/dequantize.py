"""NF4 back to floating point."""

from __future__ import annotations

import torch
from torch import Tensor

from vocabkit_kernels import reference
from vocabkit_kernels.backend import on_device_of, use_triton
from vocabkit_kernels.nf4 import FLOATS, NestedAbsmax, NF4Weight, nf4_code

# Operators take no dataclasses: a weight is its tensors and numbers.
_Parts = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]


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
        made: Tensor = _dequantize(*_parts(weight), weight.blocksize, dtype, first, end)
        return made
    if tuple(out.shape) != shape or out.dtype != dtype or out.device != weight.device or out.stride(1) != 1:
        raise ValueError(
            f"out is {out.dtype} {list(out.shape)} on {out.device} with strides {out.stride()}; it must be {dtype} "
            f"{list(shape)} on {weight.device} with adjacent columns"
        )
    _dequantize_into(out, *_parts(weight), weight.blocksize, first, end)
    return out


def _parts(weight: NF4Weight) -> _Parts:
    nested = weight.nested
    if nested is None:
        return weight.packed, weight.absmax, None, None, None
    return weight.packed, weight.absmax, nested.code, nested.absmax, nested.offset


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
    _write(out, packed, absmax, nested_code, nested_absmax, nested_offset, blocksize, first, end)
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
    _write(out, packed, absmax, nested_code, nested_absmax, nested_offset, blocksize, first, end)


def _write(
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
    if not out.numel():
        return
    if use_triton(packed, out):
        from vocabkit_kernels.jit.dequantize import launch

        code = nf4_code(packed.device)
        with on_device_of(out):
            launch(out, packed, absmax, code, nested_code, nested_absmax, nested_offset, blocksize, first, end)
        return
    nested = None
    blocks = packed.shape[1] * 2 // blocksize
    # A slab's blocks need not begin where 256 of them do, so the nested absmax are resolved for the whole weight.
    if nested_code is not None and nested_absmax is not None and nested_offset is not None:
        nested = NestedAbsmax(nested_code, nested_absmax, nested_offset)
    whole = NF4Weight(packed, absmax, (packed.shape[0], packed.shape[1] * 2), out.dtype, blocksize, nested)
    scales = reference.absmax_of(whole)[first * blocks : end * blocks]
    slab = NF4Weight(packed[first:end], scales, (end - first, packed.shape[1] * 2), out.dtype, blocksize)
    out.copy_(reference.nf4_dequantize(slab))
