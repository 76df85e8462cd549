"""What every operator has to compute, in plain PyTorch: the specification, and the oracle of the tests.

Written for the eye, in the precision of its inputs: whole logits, whole weights, no chunks.  Everything but
quantisation is differentiable and takes float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vocabkit_kernels.nf4 import NESTED_BLOCKSIZE, NF4Weight, nf4_code


def absmax_of(weight: NF4Weight, first: int = 0, end: int | None = None) -> Tensor:
    """Return the absmax of blocks `first` to `end`, of all by default, float32."""
    absmax = weight.absmax[first:end]
    if weight.nested is None:
        return absmax
    block = torch.arange(first, first + len(absmax), device=weight.device)
    # The product is rounded before the sum, as two launches would.
    return weight.nested.code[absmax.int()] * weight.nested.absmax[block // NESTED_BLOCKSIZE] + weight.nested.offset


def nf4_dequantize(weight: NF4Weight, dtype: torch.dtype | None = None) -> Tensor:
    """Return code[value] * absmax[block] for every value, [N, K], rounded once."""
    halves = torch.stack([weight.packed >> 4, weight.packed & 15], -1)
    values = nf4_code(weight.device)[halves.int()].view(-1, weight.blocksize)
    if dtype == torch.float64:
        return (values.double() * absmax_of(weight).double()[:, None]).view(weight.shape)
    return (values * absmax_of(weight)[:, None]).view(weight.shape).to(dtype or weight.dtype)


def split_embedding(ids: Tensor, old_rows: Tensor, new_rows: Tensor) -> Tensor:
    """Return the rows of `ids` from one matrix that has `new_rows` below `old_rows`, [*, width]."""
    return torch.nn.functional.embedding(ids, torch.cat([old_rows, new_rows]))


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
) -> Tensor:
    """Return the loss of `hidden` [T, width] at `labels` [T] over the ids of both matrices.

    Of a place: Z - (1 - e) s_y - e mean(s) + z_loss Z^2 with s = c tanh(h W^T / c), Z = log sum exp s, c the softcap
    and e the label smoothing.
    """
    bias = None
    if old_bias is not None or new_bias is not None:
        old_bias = old_rows.new_zeros(len(old_rows)) if old_bias is None else old_bias
        new_bias = new_rows.new_zeros(len(new_rows)) if new_bias is None else new_bias
        bias = torch.cat([old_bias, new_bias])
    scores = torch.nn.functional.linear(hidden, torch.cat([old_rows, new_rows]), bias)
    scores = scores if scores.dtype == torch.float64 else scores.float()
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    log_z = scores.logsumexp(-1)
    counted = labels != ignore_index
    picked = scores.gather(-1, labels.where(counted, 0)[:, None])[:, 0]
    losses = log_z - (1 - label_smoothing) * picked + z_loss * log_z**2
    if label_smoothing:
        losses = losses - label_smoothing * scores.mean(-1)
    losses = torch.where(counted, losses, 0)
    if reduction == "none":
        return losses
    return losses.sum() / counted.sum().clamp(min=1) if reduction == "mean" else losses.sum()


def lora_linear(
    x: Tensor,
    weight: Tensor | NF4Weight,
    a: Tensor,
    b: Tensor,
    scale: float = 1.0,
    *,
    keep: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Return x W^T + scale ((x keep) A^T) B^T + bias.  keep: the dropout mask, scaled."""
    dense = nf4_dequantize(weight, x.dtype) if isinstance(weight, NF4Weight) else weight.to(x.dtype)
    seen = x if keep is None else x * keep
    low = torch.nn.functional.linear(seen, a.to(x.dtype))
    return torch.nn.functional.linear(x, dense, bias) + scale * torch.nn.functional.linear(low, b.to(x.dtype))
