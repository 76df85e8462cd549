"""One pass of AdamW over rows: moments, master copy and the 16-bit rows together."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from vocabkit_kernels.optimizer import corrections

MAX_COLUMNS = 1024


@triton.jit
def adamw_kernel(
    rows,
    master,
    gradient,
    first,
    second,
    corrections1,
    corrections2,
    hit,
    width,
    lr,
    rest1,
    beta2,
    rest2,
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
        correction1 = tl.load(corrections1 + row)
        correction2 = tl.load(corrections2 + row)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    place = row * width + column
    slope = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
    mean = tl.load(first + place, mask=inside, other=0.0)
    square = tl.load(second + place, mask=inside, other=0.0)
    value = tl.load(master + place, mask=inside, other=0.0).to(tl.float32)
    # 1 - beta comes as such: in float32 it would lose three digits.
    mean += (slope - mean) * rest1
    square = square * beta2 + slope * slope * rest2
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
    if not rows.numel():
        return
    (beta1, beta2), width = group["betas"], rows.shape[1]
    columns = min(MAX_COLUMNS, triton.next_power_of_2(width))
    lazy = hit is not None
    step = 1.0 if lazy else float(state["step"])
    each = corrections(state["step"], group["betas"]) if lazy else (master, master)
    adamw_kernel[(len(rows), triton.cdiv(width, columns))](
        rows,
        master,
        gradient.contiguous(),
        state["exp_avg"],
        state["exp_avg_sq"],
        *each,
        hit if lazy else master,
        width,
        float(group["lr"]),
        1 - beta1,
        beta2,
        1 - beta2,
        group["eps"],
        group["weight_decay"],
        1 - beta1**step,
        1 - beta2**step,
        LAZY=lazy,
        HAS_MASTER=master.data_ptr() != rows.data_ptr(),
        COLUMNS=columns,
        num_warps=4,
    )
