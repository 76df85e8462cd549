"""Rows looked up in two matrices, and their gradients added up by row."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

MAX_COLUMNS = 2048


@triton.jit
def gather_kernel(ids, old_rows, new_rows, out, width, known, size, old_stride, new_stride, COLUMNS: tl.constexpr):
    place = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    row = tl.load(ids + place)
    is_new = row >= known
    # An id out of range was reported already; it must not be followed.
    good = (row >= 0) & (row < size)
    old = tl.load(old_rows + row * old_stride + column, mask=inside & good & (row < known), other=0.0)
    new = tl.load(new_rows + (row - known) * new_stride + column, mask=inside & good & is_new, other=0.0)
    tl.store(out + place * width + column, tl.where(is_new, new, old), mask=inside)


@triton.jit
def add_up_kernel(gradient, order, bounds, made, width, COLUMNS: tl.constexpr):
    """Each program adds what belongs to one row, in the order in which it occurred."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    total = tl.zeros((COLUMNS,), tl.float32)
    for i in range(tl.load(bounds + row), tl.load(bounds + row + 1)):
        place = tl.load(order + i)
        total += tl.load(gradient + place * width + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(made + row * width + column, total.to(made.dtype.element_ty), mask=inside)


def gather(ids: Tensor, old_rows: Tensor, new_rows: Tensor, out: Tensor) -> None:
    """Write the rows of `ids` into `out`, [*, width]."""
    width, known = out.shape[-1], len(old_rows)
    columns = min(MAX_COLUMNS, triton.next_power_of_2(width))
    old_rows, new_rows = (rows if rows.stride(1) == 1 else rows.contiguous() for rows in (old_rows, new_rows))
    gather_kernel[(ids.numel(), triton.cdiv(width, columns))](
        ids,
        old_rows,
        new_rows,
        out,
        width,
        known,
        known + len(new_rows),
        old_rows.stride(0),
        new_rows.stride(0),
        COLUMNS=columns,
        num_warps=max(1, min(8, columns // 256)),
    )


def add_up(gradient: Tensor, order: Tensor, bounds: Tensor, made: Tensor) -> None:
    """Write the sum of `gradient`'s rows order[bounds[i] : bounds[i + 1]] into row i of `made`."""
    width = made.shape[1]
    columns = min(MAX_COLUMNS, triton.next_power_of_2(width))
    add_up_kernel[(len(made), triton.cdiv(width, columns))](
        gradient, order, bounds, made, width, COLUMNS=columns, num_warps=max(1, min(8, columns // 256))
    )
