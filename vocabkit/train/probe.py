"""Whether a fused model says what its run said: next-token distributions on a probe text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vocabkit.errors import CheckpointError
from vocabkit.model.load import load_model
from vocabkit.model.trained import Trained
from vocabkit.rows.checkpoint import open_checkpoint
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.start import start_id
from vocabkit.train.fuse import DTYPES
from vocabkit.train.settings import Settings
from vocabkit.train.trainee import Trainee

# Article 1 of the Universal Declaration of Human Rights, in the languages of the first users.
TEXT = (
    "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and "
    "should act towards one another in a spirit of brotherhood. 人人生而自由，在尊严和权利上一律平等。"
    "他们赋有理性和良心，并应以兄弟关系的精神相对待。"
)
NEW_TOKENS = 64
# Mean nats by which distributions may differ: what rounding the sum to the weights' type can do, with room.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 2e-2}


@dataclass(frozen=True)
class Difference:
    """How far two models are apart on a probe.  mean, greatest: nats of KL(run || fused) a token."""

    mean: float
    greatest: float
    tokens: int
    tolerance: float


def probe_ids(folder: Path, text: str | None = None) -> Tensor:
    """Return the ids to compare on, [1, T]: a text, and some of the newest tokens."""
    tokenizer = open_tokenizer(folder)
    (ids,) = tokenizer.encode([text or TEXT])
    newest = range(max(0, tokenizer.size - NEW_TOKENS), tokenizer.size)
    return torch.tensor([[start_id(tokenizer), *ids, *newest]])


def run_log_probs(runs: Sequence[Trained], base: Path, ids: Tensor) -> Tensor:
    """Return log p of every next token by the base with all adapters beside it and the last rows, [T, V] float32.

    In float32, over full weights: what fusing has to keep.
    """
    rank = sum(one.settings["rank"] for one in runs)
    layers = {layer for one in runs for layer in one.adapters}
    settings = replace(
        Settings.from_json(runs[0].settings),
        targets=tuple(sorted({layer.rpartition(".")[2] for layer in layers})),
        rows="all",
        matrices="both",
        rank=rank,
        alpha=float(rank),
        dropout=0.0,
        quantize="none",
        checkpointing=False,
        compile=False,
    )
    trainee = Trainee(load_model(base, device="cpu", dtype="float32"), settings, 0)
    with torch.no_grad():
        for layer, adapter in trainee.adapters.items():
            adapter.a.zero_()
            adapter.b.zero_()
            first = 0
            for one in runs:
                if layer in one.adapters:
                    a, b = one.adapters[layer]
                    end = first + a.shape[-2]
                    adapter.a[..., first:end, :] = a
                    adapter.b[..., first:end] = b * one.scale
                first += one.settings["rank"]
        for one in runs:
            for name, rows in (("rows.input", trainee.rows), ("rows.head", trainee.head_rows)):
                if name in one.tensors:
                    rows.new[len(rows.new) - len(one.tensors[name]) :] = one.tensors[name]
    return _log_probs(trainee.model, ids)


def difference(expected: Tensor, folder: Path, ids: Tensor) -> Difference:
    """Return how far the model in `folder` is from `expected`, log p [T, V]; raises CheckpointError when too far."""
    model = load_model(folder, device="cpu", dtype="float32")
    found = _log_probs(model, ids)
    each = (expected.exp() * (expected - found)).sum(-1)
    stored = DTYPES.get(open_checkpoint(folder).input.tensor.dtype, torch.bfloat16)
    tolerance = TOLERANCE.get(stored, TOLERANCE[torch.bfloat16])
    result = Difference(float(each.mean()), float(each.max()), len(each), tolerance)
    if not result.mean <= tolerance:
        raise CheckpointError(
            f"the fused model differs from the run by {result.mean:.2e} nats a token, more than {tolerance:g}; "
            f"nothing was written, please report this"
        )
    return result


def checked(
    runs: Sequence[Trained], base: Path, text: str | None, progress: Callable[[str], None]
) -> Callable[[Path], dict[str, Any]]:
    """Return a check for `fuse`: it compares the fused folder with the runs and returns the figures."""
    progress("Asking the run")
    ids = probe_ids(base, text)
    expected = run_log_probs(runs, base, ids)

    def check(folder: Path) -> dict[str, Any]:
        progress("Asking the fused model")
        found = difference(expected, folder, ids)
        return {"mean_kl": found.mean, "max_kl": found.greatest, "tokens": found.tokens, "tolerance": found.tolerance}

    return check


def _log_probs(model: Any, ids: Tensor) -> Tensor:
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0]
    found: Tensor = logits.float().log_softmax(-1)
    return found
