"""The slopes of an adapter's two products from one reading of those of its layer."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from vocabkit_kernels.jit.common import dot

PLACES, ROWS = 64, 128
# Parts into which the places are divided: enough programs for every processor of a large GPU at 4,096 rows.
PARTS = 16


# M places, N rows of the layer, r rank
@triton.jit
def slopes_kernel(
    gradient_MN,
    b_Nr,
    low_Mr,
    shares_low,
    shares_b,
    places,
    rows,
    rank,
    low_stride,
    places_in_part,
    RANK: tl.constexpr,
    PLACES: tl.constexpr,
    ROWS: tl.constexpr,
):
    """For one strip of rows and one part of the places: dY B of the strip, and dY^T S of the part.

    shares_low [strips, M, r] and shares_b [parts, N, r] in float32 are added up afterwards.
    """
    strip, part = tl.program_id(0), tl.program_id(1)
    row = strip * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, RANK)
    row_inside, inside = row < rows, column < rank
    b = tl.load(
        b_Nr + row.to(tl.int64)[:, None] * rank + column, mask=row_inside[:, None] & inside[None, :], other=0.0
    )
    sum_b = tl.zeros((ROWS, RANK), tl.float32)
    first = part * places_in_part
    for step in range(tl.cdiv(places_in_part, PLACES)):
        place = first + step * PLACES + tl.arange(0, PLACES)
        known = (place < places) & (place < first + places_in_part)
        far = place.to(tl.int64)[:, None]
        gradient = tl.load(gradient_MN + far * rows + row, mask=known[:, None] & row_inside[None, :], other=0.0)
        both = known[:, None] & inside[None, :]
        low = tl.load(low_Mr + far * low_stride + column, mask=both, other=0.0)
        sum_b = dot(tl.trans(gradient), low, sum_b)
        share = dot(gradient, b, tl.zeros((PLACES, RANK), tl.float32))
        start = strip.to(tl.int64) * places * rank
        tl.store(shares_low + start + far * rank + column, share, mask=both)
    start = part.to(tl.int64) * rows * rank
    target = shares_b + start + row.to(tl.int64)[:, None] * rank + column
    tl.store(target, sum_b, mask=row_inside[:, None] & inside[None, :])


def launch(gradient: Tensor, b: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """Return dY B [M, r] and dY^T S [N, r] of dY [M, N], B [N, r] and S [M, r], in the type of dY."""
    (places, rows), rank = gradient.shape, b.shape[1]
    strips = triton.cdiv(rows, ROWS)
    in_part = triton.cdiv(triton.cdiv(places, PARTS), PLACES) * PLACES
    parts = triton.cdiv(places, in_part)
    shares_low = torch.empty(strips, places, rank, dtype=torch.float32, device=gradient.device)
    shares_b = torch.empty(parts, rows, rank, dtype=torch.float32, device=gradient.device)
    low = low if low.stride(1) == 1 else low.contiguous()
    slopes_kernel[(strips, parts)](
        gradient,
        b,
        low,
        shares_low,
        shares_b,
        places,
        rows,
        rank,
        low.stride(0),
        in_part,
        RANK=max(16, triton.next_power_of_2(rank)),
        PLACES=PLACES,
        ROWS=ROWS,
        num_warps=4,
        num_stages=3,
    )
    return shares_low.sum(0).to(gradient.dtype), shares_b.sum(0).to(gradient.dtype)
