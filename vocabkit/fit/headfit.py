"""New head rows that give the new tokens the probability they have in a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.fit.options import numbers
from vocabkit.fit.shift import model_of, windows_of
from vocabkit.fit.states import head_inputs, on_device
from vocabkit.fit.windows import Batch
from vocabkit.rows.initializers import copy
from vocabkit.rows.request import RowRequest

Rows = NDArray[np.float32]

# States that are kept, in values: 512 MB.
MAX_VALUES = 1 << 27
PLACES_AT_A_TIME = 4096
# A step is halved this often before the fit is taken to be done; so is a pass that gains less than GAIN nats.
HALVINGS = 6
GAIN = 1e-4


@dataclass(frozen=True)
class HeadfitOptions:
    """What --init-option may say.

    tokens: ids of the corpus that are read, in the new segmentation; 0 is 8 for every new token.
    prior: a row is held at its row of `copy` as by so many occurrences.
    passes: over the kept states, at most.
    blend: how much of the fit a tied row takes, the input's row of `copy` keeping the rest.
    """

    tokens: int = 0
    prior: float = 10.0
    passes: int = 20
    blend: float = 0.25


@dataclass(frozen=True)
class Places:
    """Where a token follows: what the head reads [P, width], the old ids' log Z [P], the new token [P] or -1."""

    states: Any
    log_z: Any
    token: Any


def headfit(request: RowRequest) -> Rows:
    """E_t minimises -sum log P(token | states) over text, the states and the old ids' log Z of the frozen base.

    Convex: sum_p log(Z_p + sum_t exp(h_p . E_t)) - h_p . E_y(p) + prior / 2 sum_t (E_t - S_t)^T H (E_t - S_t), S the
    row of `copy` and H the second moment of the states h, which are read once, in the old segmentation.  Each pass
    takes one step of Newton's method in which every row's Hessian is H times its count, halved until it helps.
    An input matrix of its own gets the row of `copy`; a tied row the row of `copy` and `blend` of the fit.
    Options: tokens, prior, passes, blend; see `HeadfitOptions`.
    Raises VocabkitError without a corpus or without torch.
    """
    options = numbers(request, HeadfitOptions, "headfit")
    start = copy(request)
    if request.role == "input" and not request.tied:
        return start
    width = request.old.shape[1]
    cut = windows_of(request, min(options.tokens or 8 * len(request), MAX_VALUES // width), "headfit")
    model = model_of(request, "headfit")
    places = read_places(model, request, cut)
    fitted = _fit(places, start, options, model, request)
    return fitted if request.role == "head" else start + np.float32(options.blend) * (fitted - start)


def read_places(model: Any, request: RowRequest, cut: Sequence[Batch]) -> Places:
    """Run the base once and keep what its head read before every token of the new segmentation."""
    import torch

    first, head = request.old.shape[0], model.get_output_embeddings()
    cap = Cap.of(model)
    states, log_z, tokens = [], [], []
    with torch.no_grad():
        for number, batch in enumerate(cut):
            read = head_inputs(model, on_device(batch.old_ids, model), on_device(batch.old_mask, model))
            before = on_device(batch.ends, model)[:, :-1, None].expand(-1, -1, read.shape[-1])
            real = on_device(batch.mask, model)[:, 1:].bool()
            here = read.gather(1, before)[real]
            following = on_device(batch.ids, model)[:, 1:][real]
            log_z.append(cap(head(here)[:, :first].float()).logsumexp(-1))
            here = here.float()
            # A bias is the last value of a row.
            ones = here.new_ones(len(here), request.old.shape[1] - here.shape[1])
            states.append(torch.cat([here, ones], 1))
            tokens.append(torch.where(following >= first, following - first, -1))
            if request.sources.progress and number % 20 == 19:
                request.sources.progress(f"Reading states: {number + 1:,} of {len(cut):,}")
    return Places(torch.cat(states), torch.cat(log_z), torch.cat(tokens))


def _fit(places: Places, start: Rows, options: HeadfitOptions, model: Any, request: RowRequest) -> Rows:
    import torch

    prior = torch.from_numpy(start).to(places.states)
    moment = places.states.T @ places.states / len(places.states)
    # States may span less than the whole space.
    moment += torch.eye(len(moment)).to(moment) * (1e-4 * moment.trace() / len(moment) + 1e-12)
    factor = torch.linalg.cholesky(moment)
    rows, cap = prior.clone(), Cap.of(model)
    loss, gradient, count = loss_and_gradient(places, rows, prior, moment, options.prior, cap)
    for number in range(options.passes):
        step = torch.cholesky_solve(gradient.T, factor).T / (count + options.prior)[:, None]
        for _ in range(HALVINGS):
            tried = rows - step
            new_loss, new_gradient, new_count = loss_and_gradient(places, tried, prior, moment, options.prior, cap)
            if new_loss < loss:
                break
            step = step / 2
        else:
            break
        gain = (loss - new_loss) / len(places.states)
        rows, loss, gradient, count = tried, new_loss, new_gradient, new_count
        if request.sources.progress:
            request.sources.progress(f"Fitting head rows: pass {number + 1}, {loss / len(places.states):.4f} nats")
        if gain < GAIN:
            break
    made: Rows = rows.cpu().numpy()
    return made


def loss_of(model: Any, places: Places, rows: Any) -> float:
    """Return the mean loss of head rows in nats per token."""
    nothing = rows.new_zeros(rows.shape[1], rows.shape[1])
    return loss_and_gradient(places, rows, rows, nothing, 0.0, Cap.of(model))[0] / len(places.states)


def loss_and_gradient(
    places: Places, rows: Any, prior: Any, moment: Any, strength: float, cap: Cap
) -> tuple[float, Any, Any]:
    """Return the loss in nats, its gradient [M, width], and each row's sum of p (1 - p) [M]."""
    import torch

    moved = (rows - prior) @ moment
    loss = 0.5 * strength * float(((rows - prior) * moved).sum())
    gradient, count = strength * moved, rows.new_zeros(len(rows))
    for begin in range(0, len(places.states), PLACES_AT_A_TIME):
        part = slice(begin, begin + PLACES_AT_A_TIME)
        states, log_z, token = places.states[part], places.log_z[part], places.token[part]
        raw = states @ rows.T
        logits = cap(raw)
        both = torch.logaddexp(logits.logsumexp(-1), log_z)
        new = (token >= 0).nonzero()[:, 0]
        loss += float(both.double().sum() - logits[new, token[new]].double().sum())
        probability = (logits - both[:, None]).exp_()
        count += (probability * (1 - probability)).sum(0)
        probability[new, token[new]] -= 1
        gradient += (probability * cap.slope(raw)).T @ states
    return loss, gradient, count


class Cap:
    """Gemma 2's bound on logits, c tanh(x / c); nothing for other models."""

    def __init__(self, limit: float | None) -> None:
        self._limit = limit

    @classmethod
    def of(cls, model: Any) -> Cap:
        """Return the model's own."""
        return cls(getattr(model.config.get_text_config(), "final_logit_softcapping", None))

    def __call__(self, logits: Any) -> Any:
        return (logits / self._limit).tanh() * self._limit if self._limit else logits

    def slope(self, logits: Any) -> Any:
        return 1 - (logits / self._limit).tanh().square() if self._limit else 1.0
