"""One pass of AdamW over rows: moments, master copy and the 16-bit rows together."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

MAX_COLUMNS = 1024


@triton.jit
def adamw_kernel(
    rows,
    master,
    gradient,
    first,
    second,
    steps,
    hit,
    width,
    lr,
    beta1,
    beta2,
    log_beta1,
    log_beta2,
    eps,
    decay,
    correction1,
    correction2,
    LAZY: tl.constexpr,
    HAS_MASTER: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    if LAZY:
        if tl.load(hit + row) == 0:
            return
        step = tl.load(steps + row)
        correction1 = 1 - tl.exp(step * log_beta1)
        correction2 = 1 - tl.exp(step * log_beta2)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    place = row * width + column
    slope = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
    mean = tl.load(first + place, mask=inside, other=0.0)
    square = tl.load(second + place, mask=inside, other=0.0)
    value = tl.load(master + place, mask=inside, other=0.0).to(tl.float32)
    mean += (slope - mean) * (1 - beta1)
    square = square * beta2 + slope * slope * (1 - beta2)
    size = tl.sqrt(square) / tl.sqrt(correction2) + eps
    value = value * (1 - lr * decay) - lr / correction1 * mean / size
    tl.store(first + place, mean, mask=inside)
    tl.store(second + place, square, mask=inside)
    tl.store(master + place, value, mask=inside)
    if HAS_MASTER:
        tl.store(rows + place, value.to(rows.dtype.element_ty), mask=inside)


def launch(
    rows: Tensor,
    master: Tensor,
    gradient: Tensor,
    state: dict[str, Tensor],
    hit: Tensor | None,
    group: dict[str, Any],
) -> None:
    """Update `rows`, their master copy and their moments; `hit` [dV] says which rows, None all of them."""
    from math import log

    if not rows.numel():
        return
    (beta1, beta2), width = group["betas"], rows.shape[1]
    columns = min(MAX_COLUMNS, triton.next_power_of_2(width))
    step = 1.0 if hit is not None else float(state["step"])
    adamw_kernel[(len(rows), triton.cdiv(width, columns))](
        rows,
        master,
        gradient.contiguous(),
        state["exp_avg"],
        state["exp_avg_sq"],
        state["step"] if hit is not None else master,
        hit if hit is not None else master,
        width,
        group["lr"],
        beta1,
        beta2,
        log(beta1) if beta1 else -float("inf"),
        log(beta2) if beta2 else -float("inf"),
        group["eps"],
        group["weight_decay"],
        1 - beta1**step,
        1 - beta2**step,
        LAZY=hit is not None,
        HAS_MASTER=master is not rows,
        COLUMNS=columns,
        num_warps=4,
    )
