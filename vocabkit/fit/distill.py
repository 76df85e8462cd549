"""New input rows that lead the model to the states it reaches when it reads their old pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import VocabkitError
from vocabkit.fit.options import numbers
from vocabkit.fit.shift import HEAD_BATCHES, model_of, shifted, windows_of
from vocabkit.fit.states import head_moment, layers_of, on_device, reading_new_rows, states_after
from vocabkit.fit.windows import Batch
from vocabkit.rows.initializers import copy
from vocabkit.rows.request import RowRequest

Rows = NDArray[np.float32]

WARMUP = 20
# How many steps of the optimizer pass between two lines of progress.
REPORTED = 20


@dataclass(frozen=True)
class DistillOptions:
    """What --init-option may say.

    layer: whose states are compared; 0 is a quarter of the depth, at least 4.
    tokens: ids of the corpus that are read, in the new segmentation; 0 is 50 for every new token.
    lr: Adam's step, in units of the old rows' root mean square.
    hold: how much a tied row is held where the head would notice.
    """

    layer: int = 0
    tokens: int = 0
    lr: float = 0.05
    hold: float = 0.5


def distill(request: RowRequest) -> Rows:
    """E_t minimises the mean of 1 - cos(h(.. t ..), h(.. t_1 ... t_n ..)) over text, h after a layer inside.

    h is compared at every place from the first new token of a stretch of text on, with the state after the same
    character in the old segmentation, which the frozen base computes once.  Only the new rows are fitted, by Adam,
    from the rows S of `shift` on.  A tied row is the head's as well: hold * mean_t (E_t - S_t)^T H (E_t - S_t) is
    added, H the second moment of what the head reads, which is how much the logits moved.
    A head of its own gets `copy`'s rows.
    Options: layer, tokens, lr, hold; see `DistillOptions`.
    Source: Dobler et al., "Token Distillation" (arXiv 2505.20133), with the mean squared error instead of cosines.
    Raises VocabkitError without a corpus, without torch, or when the corpus holds none of the tokens.
    """
    options = numbers(request, DistillOptions, "distill")
    if request.role != "input":
        return copy(request)
    cut = windows_of(request, options.tokens or 50 * len(request), "distill")
    model = model_of(request, "distill")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    layer = options.layer or max(4, round(len(layers_of(model)) / 4))
    if layer > len(layers_of(model)):
        raise VocabkitError(f"--init-option layer={layer}: the model has {len(layers_of(model))} layers")
    return _fit(model, request, cut, layer, options)


def _fit(model: Any, request: RowRequest, cut: Sequence[Batch], layer: int, options: DistillOptions) -> Rows:
    import torch

    first, progress = request.old.shape[0], request.sources.progress
    moment = head_moment(model, cut[:HEAD_BATCHES]) if request.tied else None
    start = torch.from_numpy(shifted(request, moment)).to(model.device)
    rows = torch.nn.Parameter(start.clone())
    step_size = options.lr * request.old.rms
    optimizer = torch.optim.Adam([rows], lr=step_size, betas=(0.9, 0.99))
    warmup = max(1, min(WARMUP, len(cut) // 5))
    recent = 0.0
    for step, batch in enumerate(cut):
        for group in optimizer.param_groups:
            group["lr"] = step_size * min((step + 1) / warmup, 1 - step / len(cut))
        distance = state_distance(model, batch, rows, first, layer)
        loss = distance
        if moment is not None:
            moved = rows - start
            loss = loss + options.hold * ((moved @ moment) * moved).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent += (distance.item() - recent) * (0.1 if step else 1)
        if progress and (step + 1) % REPORTED == 0:
            progress(f"Fitting new rows: step {step + 1:,} of {len(cut):,}, 1 - cos {recent:.3f}")
    made: Rows = rows.detach().float().cpu().numpy()
    return made


def state_distance(model: Any, batch: Batch, rows: Any, first: int, layer: int) -> Any:
    """Return the mean of 1 - cos between the states after `layer` in both segmentations; gradients reach `rows`."""
    import torch

    with torch.no_grad():
        target = states_after(model, layer, on_device(batch.old_ids, model), on_device(batch.old_mask, model))
        ends = on_device(batch.ends, model)[..., None].expand(-1, -1, target.shape[-1])
        target = target.gather(1, ends).float()
    with reading_new_rows(model, first, rows):
        states = states_after(model, layer, on_device(batch.ids, model), on_device(batch.mask, model)).float()
    counted = on_device(batch.changed, model)
    return ((1 - torch.cosine_similarity(states, target, dim=-1)) * counted).sum() / counted.sum()
