"""An embedding of frozen old rows and trainable new ones."""

from __future__ import annotations

import torch
from torch import Tensor

from vocabkit_kernels.backend import on_device_of, use_triton


def split_embedding(ids: Tensor, old_rows: Tensor, new_rows: Tensor) -> Tensor:
    """Return the rows of `ids`, [*, width]; id i is row i of `old_rows`, or row i - V0 of `new_rows` from V0 on.

    ids: [*] int64.  old_rows: [V0, width], frozen: they get no gradient.  new_rows: [dV, width], of the same type.
    The gradient is [dV, width], never [V0 + dV, width]; occurrences are added in their order, in float32, so that
    every run gives the same.
    Raises IndexError for ids out of range, on a GPU a device-side assertion; no memory outside is read.
    """
    check_rows(old_rows, new_rows)
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"ids are {ids.dtype}, not integers")
    found: Tensor = _split_embedding(ids.long(), old_rows.detach(), new_rows)
    return found


def check_rows(old_rows: Tensor, new_rows: Tensor) -> None:
    if old_rows.dim() != 2 or new_rows.dim() != 2 or old_rows.shape[1] != new_rows.shape[1]:
        raise ValueError(f"old rows {list(old_rows.shape)} and new rows {list(new_rows.shape)} have no common width")
    if old_rows.dtype != new_rows.dtype or old_rows.device != new_rows.device:
        raise ValueError(
            f"old rows are {old_rows.dtype} on {old_rows.device}, new ones {new_rows.dtype} on {new_rows.device}"
        )


def check_ids(ids: Tensor, size: int, what: str) -> None:
    """Raise IndexError unless 0 <= ids < size; on a GPU assert it there, without waiting."""
    fits = ((ids >= 0) & (ids < size)).all()
    if ids.is_cuda:
        torch._assert_async(fits, f"{what} must be from 0 to {size - 1}")
    elif not fits:
        worst = ids[(ids < 0) | (ids >= size)].flatten()[0]
        raise IndexError(f"{what} {int(worst)} is not from 0 to {size - 1}")


@torch.library.custom_op("vocabkit::split_embedding", mutates_args=())
def _split_embedding(ids: Tensor, old_rows: Tensor, new_rows: Tensor) -> Tensor:
    known = len(old_rows)
    check_ids(ids, known + len(new_rows), "ids")
    out = torch.empty(*ids.shape, old_rows.shape[1], dtype=old_rows.dtype, device=old_rows.device)
    if not out.numel():
        return out
    if use_triton(ids, old_rows, new_rows):
        from vocabkit_kernels.jit.embedding import gather

        with on_device_of(out):
            gather(ids.contiguous(), old_rows, new_rows, out)
        return out
    flat, rows = ids.reshape(-1), out.view(-1, out.shape[-1])
    if known:
        torch.index_select(old_rows, 0, flat.clamp(max=known - 1), out=rows)
    new = (flat >= known).nonzero()[:, 0]
    rows[new] = new_rows[flat[new] - known]
    return out


@_split_embedding.register_fake
def _(ids: Tensor, old_rows: Tensor, new_rows: Tensor) -> Tensor:
    return old_rows.new_empty(*ids.shape, old_rows.shape[1])


@torch.library.custom_op("vocabkit::split_embedding_backward", mutates_args=())
def _split_embedding_backward(gradient: Tensor, ids: Tensor, known: int, count: int) -> Tensor:
    width = gradient.shape[-1]
    made = torch.zeros(count, width, dtype=gradient.dtype, device=gradient.device)
    if not ids.numel() or not made.numel():
        return made
    gradient, flat = gradient.reshape(-1, width), ids.reshape(-1)
    if use_triton(gradient, ids):
        from vocabkit_kernels.jit.embedding import add_up

        in_order, order = flat.sort(stable=True)
        bounds = torch.searchsorted(in_order, torch.arange(known, known + count + 1, device=ids.device))
        with on_device_of(made):
            add_up(gradient.contiguous(), order, bounds, made)
        return made
    new = (flat >= known).nonzero()[:, 0]
    total = torch.zeros(count, width, dtype=torch.promote_types(gradient.dtype, torch.float32), device=ids.device)
    if gradient.is_cuda:
        # index_add_ is not deterministic there; a sorted put is.
        total.index_put_((flat[new] - known,), gradient[new].to(total.dtype), accumulate=True)
    else:
        total.index_add_(0, flat[new] - known, gradient[new].to(total.dtype))
    return total.to(gradient.dtype)


@_split_embedding_backward.register_fake
def _(gradient: Tensor, ids: Tensor, known: int, count: int) -> Tensor:
    return gradient.new_empty(count, gradient.shape[-1])


def _remember(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    del output
    ids, old_rows, new_rows = inputs
    ctx.save_for_backward(ids)
    ctx.sizes = len(old_rows), len(new_rows)  # type: ignore[attr-defined]


def _backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[None, None, Tensor | None]:
    if not ctx.needs_input_grad[2]:  # type: ignore[attr-defined]
        return None, None, None
    (ids,) = ctx.saved_tensors  # type: ignore[attr-defined]
    known, count = ctx.sizes  # type: ignore[attr-defined]
    return None, None, _split_embedding_backward(gradient, ids, known, count)


_split_embedding.register_autograd(_backward, setup_context=_remember)
