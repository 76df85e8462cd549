"""The cross entropy of a linear head over frozen old rows and trainable new ones; the logits never exist at once."""

from __future__ import annotations

import torch
from torch import Tensor

from vocabkit_kernels.backend import in_autocast, on_device_of, use_triton, without_autocast
from vocabkit_kernels.embedding import check_ids, check_rows

# Logits of a chunk of places, in float32.
CHUNK_BYTES = 256 << 20
REDUCTIONS = ("mean", "sum", "none")

# Loss, what a place counts, and the gradients of the sum: hidden, new and old rows, their biases.
_Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def linear_cross_entropy(
    hidden: Tensor,
    old_rows: Tensor,
    new_rows: Tensor,
    labels: Tensor,
    *,
    old_bias: Tensor | None = None,
    new_bias: Tensor | None = None,
    ignore_index: int = -100,
    softcap: float | None = None,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    train_old: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
) -> Tensor:
    """Return the loss of `hidden` at `labels` over the ids of both matrices, as one matrix would give it.

    Of a place: Z - (1 - e) s_y - e mean(s) + z_loss Z^2 with s = c tanh(h W^T / c), Z = log sum exp s, c the softcap
    and e the label smoothing.
    hidden: [*, width].  labels: [*] int64, `ignore_index` where nothing is to be learned; those places are left out
        before the first product.
    old_rows: [V0, width]; they and `old_bias` [V0] get gradients only when `train_old`.
    new_rows: [dV, width]; new_bias: [dV].
    reduction: "mean" over the counted places (0 when there are none), "sum", or "none": a loss for each place, in the
        shape of labels, 0 where ignored, without gradients.
    chunk_bytes: of float32 logits that exist at a time.
    Gradients are computed together with the loss: products h W^T, dS W and dS^T h, the last for trainable rows alone.
    Under torch.autocast hidden and rows are cast as for any product.  It has no second derivative.
    Raises ValueError for arguments that do not fit, IndexError for labels out of range (on a GPU a device assertion).
    """
    hidden, old_rows, new_rows = (in_autocast(tensor) for tensor in (hidden, old_rows, new_rows))
    check_rows(old_rows, new_rows)
    if labels.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"labels are {labels.dtype}, not integers")
    for bias, rows in ((old_bias, old_rows), (new_bias, new_rows)):
        if bias is not None and tuple(bias.shape) != (len(rows),):
            raise ValueError(f"a bias of {list(bias.shape)} does not fit {len(rows)} rows")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing {label_smoothing} is not from 0 to 1")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
    if hidden.shape[:-1] != labels.shape or hidden.shape[-1] != old_rows.shape[1]:
        raise ValueError(
            f"hidden {list(hidden.shape)}, labels {list(labels.shape)} and rows {list(old_rows.shape)} do not fit"
        )
    if hidden.dtype != old_rows.dtype:
        raise ValueError(f"hidden is {hidden.dtype} and the rows are {old_rows.dtype}; cast one of them")
    if softcap is not None and softcap <= 0:
        raise ValueError(f"softcap {softcap} is not above 0; use None for no cap")
    learned = [hidden, new_rows, new_bias, *([old_rows, old_bias] if train_old else [])]
    train = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in learned)
    if reduction == "none" and train:
        raise ValueError("reduction 'none' gives no gradients; call it under torch.no_grad(), or use 'sum'")
    if not train_old:
        old_rows, old_bias = old_rows.detach(), None if old_bias is None else old_bias.detach()
    losses: Tensor = _linear_cross_entropy(
        hidden.reshape(-1, hidden.shape[-1]),
        old_rows,
        new_rows,
        labels.reshape(-1).long(),
        old_bias,
        new_bias,
        ignore_index,
        softcap or 0.0,
        z_loss,
        label_smoothing,
        reduction,
        train,
        train and train_old,
        chunk_bytes,
    )[0]
    return losses.view(labels.shape) if reduction == "none" else losses


@torch.library.custom_op("vocabkit::linear_cross_entropy", mutates_args=())
def _linear_cross_entropy(
    hidden: Tensor,
    old_rows: Tensor,
    new_rows: Tensor,
    labels: Tensor,
    old_bias: Tensor | None,
    new_bias: Tensor | None,
    ignore_index: int,
    softcap: float,
    z_loss: float,
    label_smoothing: float,
    reduction: str,
    train: bool,
    train_old: bool,
    chunk_bytes: int,
) -> _Outputs:
    with without_autocast(hidden):
        known, size = len(old_rows), len(old_rows) + len(new_rows)
        counted = (labels != ignore_index).nonzero()[:, 0]
        wanted = labels[counted]
        check_ids(wanted, size, "labels")
        exact = torch.promote_types(hidden.dtype, torch.float32)
        losses = torch.zeros(len(counted), dtype=exact, device=hidden.device)
        weight = 1 / max(len(counted), 1) if reduction == "mean" else 1.0
        d_hidden = hidden.new_zeros(hidden.shape) if train else hidden.new_empty(0)
        d_new, d_new_bias = _sums(new_rows, new_bias, train, exact)
        d_old, d_old_bias = _sums(old_rows, old_bias, train_old, exact)
        step = max(1, chunk_bytes // (4 * max(size, 1)))
        for begin in range(0, len(counted), step):
            places = counted[begin : begin + step]
            read = hidden[places]
            scores = torch.empty(len(places), size, dtype=hidden.dtype, device=hidden.device)
            torch.mm(read, old_rows.t(), out=scores[:, :known])
            torch.mm(read, new_rows.t(), out=scores[:, known:])
            for part, bias in ((scores[:, :known], old_bias), (scores[:, known:], new_bias)):
                if bias is not None:
                    part += bias
            chunk = losses[begin : begin + step]
            slopes = _score(scores, wanted[begin : begin + step], chunk, softcap, z_loss, label_smoothing, train)
            if not train:
                continue
            old, new = slopes[:, :known], slopes[:, known:]
            d_hidden[places] = torch.addmm(old @ old_rows, new, new_rows)
            d_new += (new.t() @ read).to(exact)
            if d_new_bias.numel():
                d_new_bias += new.sum(0, dtype=exact)
            if train_old:
                d_old += (old.t() @ read).to(exact)
                if d_old_bias.numel():
                    d_old_bias += old.sum(0, dtype=exact)
        if reduction == "none":
            loss = losses.new_zeros(len(labels)).index_copy_(0, counted, losses)
        else:
            loss = losses.sum() * weight
        return loss, loss.new_tensor(weight), d_hidden, d_new, d_old, d_new_bias, d_old_bias


def _sums(rows: Tensor, bias: Tensor | None, wanted: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return where the gradients of a matrix and its bias are added up; empty where none are wanted."""
    if not wanted:
        return rows.new_empty(0, dtype=dtype), rows.new_empty(0, dtype=dtype)
    total = rows.new_zeros(rows.shape, dtype=dtype)
    return total, rows.new_empty(0, dtype=dtype) if bias is None else bias.new_zeros(bias.shape, dtype=dtype)


def _score(
    scores: Tensor,
    labels: Tensor,
    losses: Tensor,
    softcap: float,
    z_loss: float,
    label_smoothing: float,
    slopes: bool,
) -> Tensor:
    """Write the places' losses; where `slopes`, put their derivatives by the uncapped scores over `scores`."""
    if use_triton(scores, labels):
        from vocabkit_kernels.jit.cross_entropy import launch

        with on_device_of(scores):
            launch(scores, labels, losses, softcap, z_loss, label_smoothing, slopes)
        return scores
    exact = scores.to(losses.dtype)
    slope = None
    if softcap:
        bent = torch.tanh(exact / softcap)
        exact, slope = softcap * bent, 1 - bent * bent
    log_z = exact.logsumexp(-1)
    picked = exact.gather(-1, labels[:, None])[:, 0]
    smooth = label_smoothing * exact.mean(-1) if label_smoothing else 0.0
    losses.copy_(log_z - (1 - label_smoothing) * picked - smooth + z_loss * log_z**2)
    if not slopes:
        return scores
    found = (exact - log_z[:, None]).exp_() * (1 + 2 * z_loss * log_z)[:, None]
    found -= label_smoothing / scores.shape[1]
    found.scatter_add_(1, labels[:, None], found.new_full((len(labels), 1), label_smoothing - 1))
    if slope is not None:
        found *= slope
    return scores.copy_(found)


@_linear_cross_entropy.register_fake
def _(
    hidden: Tensor,
    old_rows: Tensor,
    new_rows: Tensor,
    labels: Tensor,
    old_bias: Tensor | None,
    new_bias: Tensor | None,
    ignore_index: int,
    softcap: float,
    z_loss: float,
    label_smoothing: float,
    reduction: str,
    train: bool,
    train_old: bool,
    chunk_bytes: int,
) -> _Outputs:
    exact = torch.promote_types(hidden.dtype, torch.float32)

    def like(tensor: Tensor | None, wanted: bool) -> Tensor:
        return hidden.new_empty(0 if tensor is None or not wanted else tensor.shape, dtype=exact)

    return (
        hidden.new_empty(labels.shape if reduction == "none" else (), dtype=exact),
        hidden.new_empty((), dtype=exact),
        hidden.new_empty(hidden.shape if train else 0),
        like(new_rows, train),
        like(old_rows, train_old),
        like(new_bias, train),
        like(old_bias, train_old),
    )


def _remember(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[object, ...], output: _Outputs) -> None:
    ctx.save_for_backward(*output[1:])
    ctx.dtype = output[2].dtype  # type: ignore[attr-defined]
    ctx.biases = inputs[4] is not None, inputs[5] is not None  # type: ignore[attr-defined]
    ctx.train_old = inputs[12]  # type: ignore[attr-defined]
    ctx.set_materialize_grads(False)


def _backward(
    ctx: torch.autograd.function.FunctionCtx, gradient: Tensor | None, *others: None
) -> tuple[Tensor | None, ...]:
    if any(other is not None for other in others):
        raise RuntimeError("linear_cross_entropy has no second derivative; use vocabkit_kernels.reference for that")
    if gradient is None:
        return (None,) * 14
    weight, *saved = ctx.saved_tensors  # type: ignore[attr-defined]
    # Scaled here and not before: in float16 the slopes of a mean over many places would vanish.
    scale, dtype = gradient * weight, ctx.dtype  # type: ignore[attr-defined]
    hidden, new, old, new_bias, old_bias = ((part.to(scale.dtype) * scale).to(dtype) for part in saved)
    has_old_bias, has_new_bias = ctx.biases  # type: ignore[attr-defined]
    train_old = ctx.train_old  # type: ignore[attr-defined]
    wanted = (
        hidden,
        old if train_old else None,
        new,
        None,
        old_bias if train_old and has_old_bias else None,
        new_bias if has_new_bias else None,
    )
    return (*wanted, *[None] * 8)


_linear_cross_entropy.register_autograd(_backward, setup_context=_remember)
