"""A linear layer that reads its weight in 4 bits: y^T = W x^T, so that the weight stays in registers."""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from vocabkit_kernels.jit.common import dot
from vocabkit_kernels.nf4 import NF4Weight, nf4_code
from vocabkit_kernels.routes import Route

# A part of K is at least so many steps.
MIN_STEPS = 8
# Places that one program makes, where the route does not say.
MAX_PLACES = 64


@triton.jit
def absmax_at(absmax, nested_code, nested_absmax, offset, block, inside, NESTED: tl.constexpr):
    """Return the absmax of blocks, [rows]."""
    if NESTED:
        place = tl.load(absmax + block, mask=inside, other=0).to(tl.int32)
        outer = tl.load(nested_absmax + block // 256, mask=inside, other=0.0)
        return tl.load(nested_code + place) * outer + offset
    else:
        return tl.load(absmax + block, mask=inside, other=0.0)


@triton.jit
def finished(
    total, low, b, bias, row, place, rows, places, rank, LORA: tl.constexpr, BIAS: tl.constexpr, RANK: tl.constexpr
):
    """Add b low^T and the bias to [rows, places]."""
    if LORA:
        r = tl.arange(0, RANK)
        inside = (row < rows)[:, None] & (r < rank)[None, :]
        height = tl.load(b + row[:, None] * rank + r[None, :], mask=inside, other=0.0)
        inside = (place < places)[None, :] & (r < rank)[:, None]
        wide = tl.load(low + place[None, :] * rank + r[:, None], mask=inside, other=0.0)
        total = dot(height, wide, total)
    if BIAS:
        total += tl.load(bias + row, mask=row < rows, other=0.0).to(tl.float32)[:, None]
    return total


@triton.jit
def nf4_linear_kernel(
    x,
    packed,
    absmax,
    nested_code,
    nested_absmax,
    nested_offset,
    table,
    low,
    b,
    bias,
    out,
    places,
    rows,
    columns,
    rank,
    x_stride,
    steps_in_part,
    BLOCKSIZE: tl.constexpr,
    NESTED: tl.constexpr,
    PAIRS: tl.constexpr,
    PARTS: tl.constexpr,
    LORA: tl.constexpr,
    BIAS: tl.constexpr,
    RANK: tl.constexpr,
    ROWS: tl.constexpr,
    PLACES: tl.constexpr,
    STEP: tl.constexpr,
):
    """Each program makes [ROWS, PLACES] of y^T, or of one part of K's share in it.

    PAIRS: `table` has the two 16-bit values of each byte, [256] int32; else the 16 values in float32.  The absmax is
    multiplied in after the product: it stays in float32, and costs a product for every place instead of every weight.
    """
    HALF: tl.constexpr = STEP // 2
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    place = tl.program_id(1) * PLACES + tl.arange(0, PLACES)
    part = tl.program_id(2)
    row_inside, place_inside = row < rows, place < places
    row_start = row.to(tl.int64) * columns
    half = tl.arange(0, HALF)
    column = tl.arange(0, STEP)
    total = tl.zeros((ROWS, PLACES), tl.float32)
    offset = 0.0
    if NESTED:
        offset = tl.load(nested_offset)
    if PAIRS:
        known = tl.load(table + tl.arange(0, 256))
    else:
        known = tl.load(table + tl.arange(0, 16))
    begin = part * steps_in_part
    end = tl.minimum(begin + steps_in_part, columns // STEP)
    for step in range(begin, end):
        start = step * STEP
        source = packed + (row_start[:, None] + start) // 2 + half[None, :]
        pair = tl.load(source, mask=row_inside[:, None], other=0).to(tl.int32)
        source = x + place[None, :].to(tl.int64) * x_stride + (start + column)[:, None]
        read = tl.load(source, mask=place_inside[None, :], other=0.0)
        scale = absmax_at(
            absmax, nested_code, nested_absmax, offset, (row_start + start) // BLOCKSIZE, row_inside, NESTED
        )
        if PAIRS:
            both = tl.reshape(tl.gather(known, tl.reshape(pair, (ROWS * HALF,)), 0), (ROWS, HALF))
            high = (both & 0xFFFF).to(tl.int16).to(x.dtype.element_ty, bitcast=True)
            below = (both >> 16).to(tl.int16).to(x.dtype.element_ty, bitcast=True)
        else:
            high = tl.reshape(tl.gather(known, tl.reshape(pair >> 4, (ROWS * HALF,)), 0), (ROWS, HALF))
            below = tl.reshape(tl.gather(known, tl.reshape(pair & 15, (ROWS * HALF,)), 0), (ROWS, HALF))
        weight = tl.reshape(tl.join(high, below), (ROWS, STEP))
        total += dot(weight, read, tl.zeros((ROWS, PLACES), tl.float32)) * scale[:, None]
    target = out + place[None, :].to(tl.int64) * rows + row[:, None]
    inside = row_inside[:, None] & place_inside[None, :]
    if PARTS:
        tl.store(target + part.to(tl.int64) * places * rows, total, mask=inside)
    else:
        total = finished(total, low, b, bias, row, place, rows, places, rank, LORA, BIAS, RANK)
        tl.store(target, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def add_parts_kernel(
    shares,
    low,
    b,
    bias,
    out,
    places,
    rows,
    rank,
    parts,
    LORA: tl.constexpr,
    BIAS: tl.constexpr,
    RANK: tl.constexpr,
    ROWS: tl.constexpr,
    PLACES: tl.constexpr,
):
    """Add the parts of K in their order."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    place = tl.program_id(1) * PLACES + tl.arange(0, PLACES)
    inside = (row < rows)[:, None] & (place < places)[None, :]
    target = place[None, :].to(tl.int64) * rows + row[:, None]
    total = tl.zeros((ROWS, PLACES), tl.float32)
    source = shares + target
    for _ in range(parts):
        total += tl.load(source, mask=inside, other=0.0)
        source += tl.full((), 1, tl.int64) * places * rows
    total = finished(total, low, b, bias, row, place, rows, places, rank, LORA, BIAS, RANK)
    tl.store(out + target, total.to(out.dtype.element_ty), mask=inside)


@cache
def pair_table(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return, for every byte, its two values in 16 bits: the first in the low half, [256] int32."""
    values = nf4_code(torch.device("cpu")).to(dtype).view(torch.int16).to(torch.int32) & 0xFFFF
    return (values.repeat_interleave(16) | (values.repeat(16) << 16)).to(torch.int32).to(device)


def parts_of(programs: int, steps: int, processors: int) -> int:
    """Return into how many parts K is divided, so that no processor is without work."""
    return max(1, min(triton.cdiv(2 * processors, programs), steps // MIN_STEPS))


def launch(
    out: Tensor,
    x: Tensor,
    weight: NF4Weight,
    bias: Tensor | None,
    low: Tensor | None,
    b: Tensor | None,
    route: Route,
) -> None:
    """Write x W^T + low b^T + bias into `out` [M, N].  x: [M, K], adjacent columns.  low: [M, r].  b: [N, r]."""
    (places, columns), rows = x.shape, weight.shape[0]
    device, pairs = x.device, x.dtype != torch.float32
    table = pair_table(x.dtype, device) if pairs else nf4_code(device)
    rank = 0 if b is None else b.shape[1]
    step = min(route.step, weight.blocksize)
    together = route.places or max(16, min(MAX_PLACES, triton.next_power_of_2(places)))
    grid = (triton.cdiv(rows, route.rows), triton.cdiv(places, together))
    processors = torch.cuda.get_device_properties(device).multi_processor_count if x.is_cuda else 1
    parts = min(route.parts, columns // step) or parts_of(grid[0] * grid[1], columns // step, processors)
    nested = weight.nested
    after = (x if low is None else low, x if b is None else b, x if bias is None else bias)
    shared = {
        "LORA": b is not None,
        "BIAS": bias is not None,
        "RANK": max(16, triton.next_power_of_2(rank)),
        "ROWS": route.rows,
        "PLACES": together,
    }
    target = out if parts == 1 else torch.empty(parts, places, rows, dtype=torch.float32, device=device)
    nf4_linear_kernel[(*grid, parts)](
        x,
        weight.packed,
        weight.absmax,
        nested.code if nested else table,
        nested.absmax if nested else table,
        nested.offset if nested else table,
        table,
        *after,
        target,
        places,
        rows,
        columns,
        rank,
        x.stride(0),
        triton.cdiv(columns // step, parts),
        BLOCKSIZE=weight.blocksize,
        NESTED=nested is not None,
        PAIRS=pairs,
        PARTS=parts > 1,
        STEP=step,
        num_warps=route.warps,
        num_stages=route.stages,
        **shared,
    )
    if parts > 1:
        add_parts_kernel[grid](target, *after, out, places, rows, rank, parts, num_warps=route.warps, **shared)
