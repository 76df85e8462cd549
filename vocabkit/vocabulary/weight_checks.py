"""The guarantees of a model's weights: G10, G11, and G1 and G12 as far as they are about rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vocabkit.model.load import can_run_models, has_gpu, load_model
from vocabkit.model.scores import log_z_shift
from vocabkit.rows.checkpoint import Checkpoint, RowTensor, vocab_sizes
from vocabkit.rows.distinct import repeated_rows
from vocabkit.tokenizer.start import start_id
from vocabkit.vocabulary.checks import padded_rows
from vocabkit.vocabulary.probes import english_lines
from vocabkit.vocabulary.verify import Case, Check

# Rows compared at a time.
BLOCK_ROWS = 4096
# Loading and reading a few dozen lines takes seconds below this, minutes above.
MAX_GIGABYTES_ON_CPU = 3.0
MAX_LINES = 50


def g10_rows(case: Case) -> Check:
    """Old rows bit-identical in every matrix, tied stays tied, no NaN, no two new rows equal, all rows there."""
    assert case.weights is not None
    base, candidate = case.weights
    wrong = _structure(case, base, candidate)
    compared = 0
    for old, new in _pairs(base, candidate):
        if new is None:
            wrong.append(f"{old.name} is missing")
            continue
        if old.tensor.dtype != new.tensor.dtype or old.tensor.shape[1:] != new.tensor.shape[1:]:
            wrong.append(f"{old.name} is {new.tensor.dtype} {list(new.tensor.shape[1:])}, not {old.tensor.dtype}")
            continue
        compared += min(case.base.size, len(old.values))
        changed = _changed_rows(old.values[: case.base.size], new.values[: case.base.size])
        wrong += [f"{old.name}: row {i} changed" for i in changed]
        wrong += _new_rows(new, case.base.size, case.candidate.size)
    detail = (
        f"{compared:,} old rows compared, {len(case.new_ids):,} new in {candidate.rows:,} rows, "
        f"{'tied' if candidate.tied else 'input and head' if candidate.head else 'no head'}"
    )
    title = "old rows bit-identical, tied stays tied, new rows sound and distinct"
    return Check("G10", title, not wrong, detail, tuple(wrong))


def g11_distribution(case: Case) -> Check | None:
    """On text of the base's languages the new tokens take no more from the old ones than average tokens would.

    None where the model cannot be run here: without torch and transformers, or too large for a CPU.
    """
    assert case.weights is not None
    folder = case.weights[1].folder
    if not can_run(case.weights[1]):
        return None
    lines = [*english_lines(), *case.other[:MAX_LINES]]
    mean, greatest = log_z_shift(
        load_model(folder), case.candidate.encode(lines), start_id(case.candidate), case.base.size
    )
    # Padding is never produced, and takes its share of the sum all the same.
    bound = math.log1p((case.weights[1].rows - case.base.size) / case.base.size)
    detail = (
        f"delta log Z {mean:.4f} on average over {len(lines)} lines, {greatest:.4f} at most; the bound is {bound:.4f}"
    )
    wrong = (f"the new tokens take {mean:.4f}",) if mean > bound else ()
    return Check(
        "G11", "old tokens lose at most log(1 + M/V) to the new ones on other text", not wrong, detail, wrong
    )


WEIGHT_CHECKS: tuple[Callable[[Case], Check | None], ...] = (g10_rows, g11_distribution)


def can_run(checkpoint: Checkpoint) -> bool:
    """Return whether a model can be run here in a minute: with torch and transformers, on a GPU or small enough."""
    if not can_run_models():
        return False
    gigabytes = sum(header.path.stat().st_size for header in checkpoint.shards.values()) / 1e9
    return gigabytes <= MAX_GIGABYTES_ON_CPU or has_gpu()


def _structure(case: Case, base: Checkpoint, candidate: Checkpoint) -> list[str]:
    wrong = []
    if base.tied != candidate.tied:
        wrong.append(f"the base is {'tied' if base.tied else 'not tied'}, and this is not so any more")
    rows = padded_rows(case.base, case.candidate.size)
    if candidate.rows != rows:
        wrong.append(f"{candidate.rows:,} rows, not {rows:,}")
    wrong += [
        f"config.json says vocab_size {part['vocab_size']}, not {candidate.rows}"
        for part in vocab_sizes(candidate.config)
        if part["vocab_size"] != candidate.rows
    ]
    held = {name for header in candidate.shards.values() for name in header.tensors}
    wrong += [f"{name} is missing" for header in base.shards.values() for name in header.tensors if name not in held]
    return wrong


def _pairs(base: Checkpoint, candidate: Checkpoint) -> list[tuple[RowTensor, RowTensor | None]]:
    new = {tensor.role: tensor for tensor in candidate.row_tensors}
    return [(tensor, new.get(tensor.role)) for tensor in base.row_tensors]


def _changed_rows(old: NDArray[np.generic], new: NDArray[np.generic]) -> list[int]:
    changed: list[int] = []
    for start in range(0, len(old), BLOCK_ROWS):
        a, b = (np.ascontiguousarray(x[start : start + BLOCK_ROWS]) for x in (old, new))
        differs = (a.view(np.uint8).reshape(len(a), -1) != b.view(np.uint8).reshape(len(b), -1)).any(1)
        changed += (start + np.flatnonzero(differs)).tolist()
    return changed


def _new_rows(tensor: RowTensor, first: int, end: int) -> list[str]:
    new = np.asarray(tensor.values[first:end])
    wrong = []
    if not bool(np.isfinite(new.astype(np.float32)).all()):
        wrong.append(f"{tensor.name}: new rows hold values that are no numbers")
    if new.ndim == 2:
        wrong += [f"{tensor.name}: row {first + i} equals another new row" for i in repeated_rows(new).tolist()]
    return wrong
