"""Losses of rows of scores, and their derivatives in the scores' place."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

MAX_COLUMNS = 8192


@triton.jit
def tanh(x):
    # exp(-2|x|) never overflows.
    small = tl.exp(-2 * tl.abs(x))
    bent = (1 - small) / (1 + small)
    return tl.where(x < 0, -bent, bent)


@triton.jit
def cross_entropy_kernel(
    scores,
    labels,
    losses,
    size,
    stride,
    softcap,
    z_loss,
    smoothing,
    CAPPED: tl.constexpr,
    SMOOTH: tl.constexpr,
    SLOPES: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Each program takes one row: reads it once for log Z, and once more to put the derivatives in its place."""
    place = tl.program_id(0).to(tl.int64)
    row = scores + place * stride
    label = tl.load(labels + place)
    greatest = -float("inf")
    total = 0.0
    added = 0.0
    picked = 0.0
    for begin in range(0, size, COLUMNS):
        column = begin + tl.arange(0, COLUMNS)
        inside = column < size
        here = tl.load(row + column, mask=inside, other=0.0).to(tl.float32)
        if CAPPED:
            here = softcap * tanh(here / softcap)
        if SMOOTH:
            added += tl.sum(tl.where(inside, here, 0.0), 0)
        picked += tl.sum(tl.where(column == label, here, 0.0), 0)
        here = tl.where(inside, here, -float("inf"))
        above = tl.maximum(greatest, tl.max(here, 0))
        # Where all scores so far are -inf, so that nothing is subtracted from itself.
        base = tl.where(above == -float("inf"), 0.0, above)
        total = total * tl.exp(greatest - base) + tl.sum(tl.exp(here - base), 0)
        greatest = above
    log_z = greatest + tl.log(total)
    loss = log_z - (1 - smoothing) * picked + z_loss * log_z * log_z
    if SMOOTH:
        loss -= smoothing * added / size
    tl.store(losses + place, loss)
    if SLOPES:
        share = 1 + 2 * z_loss * log_z
        for begin in range(0, size, COLUMNS):
            column = begin + tl.arange(0, COLUMNS)
            inside = column < size
            here = tl.load(row + column, mask=inside, other=0.0).to(tl.float32)
            slope = 1.0
            if CAPPED:
                bent = tanh(here / softcap)
                here = softcap * bent
                slope = 1 - bent * bent
            found = tl.exp(here - log_z) * share - smoothing / size
            found = tl.where(column == label, found - (1 - smoothing), found)
            tl.store(row + column, (found * slope).to(scores.dtype.element_ty), mask=inside)


def launch(
    scores: Tensor,
    labels: Tensor,
    losses: Tensor,
    softcap: float,
    z_loss: float,
    label_smoothing: float,
    slopes: bool,
) -> None:
    """Write the rows' losses, and where `slopes` their derivatives over `scores`."""
    columns = min(MAX_COLUMNS, triton.next_power_of_2(scores.shape[1]))
    cross_entropy_kernel[(len(scores),)](
        scores,
        labels,
        losses,
        scores.shape[1],
        scores.stride(0),
        softcap,
        z_loss,
        label_smoothing,
        CAPPED=bool(softcap),
        SMOOTH=bool(label_smoothing),
        SLOPES=slopes,
        COLUMNS=columns,
        num_warps=max(1, min(16, columns // 256)),
    )
