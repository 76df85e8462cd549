"""Failures of the vocabulary rows themselves: values that are no numbers, and rows that nothing trained."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vocabkit.diagnose.case import Case, examples
from vocabkit.diagnose.finding import Finding
from vocabkit.diagnose.row_statistics import RowStatistics, distances_from, measure
from vocabkit.rows.checkpoint import RowTensor
from vocabkit.rows.distinct import repeated_rows

# A mean of pieces is shorter than its pieces: of 16 random ones a quarter as long.  A tenth is no mean of any word.
NEAR = 0.1
# Of all tokens, when nobody says which are new: bases have a few untrained rows of their own.
OWN_SHARE = 0.01
# Rows drawn from one normal distribution have lengths that differ by 1 / sqrt(2 width); learned ones differ by more.
DRAWN, LEARNED = 1.3, 3.0
FEWEST_DRAWN = 50
# Bytes that no UTF-8 text holds: their tokens were never trained.
NEVER_IN_TEXT = (0xC0, 0xC1, *range(0xF5, 0x100))
FEWEST_UNUSED = 3


def numbers(case: Case) -> Finding | None:
    """NaN or infinite values in vocabulary rows."""
    weights = case.patient.weights
    if weights is None:
        return None
    wrong, items = [], []
    for tensor in weights.matrices:
        broken = np.flatnonzero(_broken(tensor))
        if len(broken):
            wrong.append(f"{len(broken):,} of {tensor.tensor.shape[0]:,} rows of {tensor.name}")
            items += [f"{tensor.name}: {line}" for line in examples(case, broken.tolist())]
    bias = weights.bias
    if bias is not None and not bool(np.isfinite(np.asarray(bias.values, np.float32)).all()):
        wrong.append(bias.name)
    if not wrong:
        return None
    return Finding(
        "no numbers",
        f"NaN or infinite values in {' and '.join(wrong)}",
        "one such row in a head makes every probability NaN, one in the input those of every text with the token",
        "take a checkpoint from before the training that made them, and train with a smaller rate or in bfloat16",
        tuple(items),
        unsafe="what the values were is not known",
    )


def untrained(case: Case) -> Finding | None:
    """Rows of tokens that training never reached: equal to others, short, at the mean, drawn at random."""
    weights, tokenizer = case.patient.weights, case.patient.tokenizer
    if weights is None or tokenizer is None:
        return None
    special = set(tokenizer.special_tokens.values())
    said, items = [], []
    for tensor in weights.matrices:
        rows = tensor.tensor.shape[0]
        ids = np.asarray([i for i in case.new_ids if i in case.spelled and i < rows and i not in special], np.intp)
        if not len(ids):
            continue
        kinds = _untrained(case, tensor, ids)
        found = np.unique(np.concatenate([*kinds.values(), np.empty(0, np.intp)]))
        if len(found) <= (0 if case.first_new else OWN_SHARE * len(ids)):
            continue
        counts = ", ".join(f"{len(which):,} {kind}" for kind, which in kinds.items() if len(which))
        said.append(f"{len(found):,} of {len(ids):,} {case.new} in {tensor.name} ({counts})")
        items += [f"{tensor.name}: {line}" for line in examples(case, found.tolist())]
    if not said:
        return None
    return Finding(
        "untrained rows",
        "; ".join(said),
        "the model has learned nothing about these tokens: text that holds them is read as noise, and they are "
        "written by chance or never",
        "train the rows (`vocabkit train --stage rows`), or make them from their pieces (`vocabkit extend --init`)",
        tuple(items),
        unsafe="only training mends it",
    )


def _broken(tensor: RowTensor) -> NDArray[np.bool_]:
    return measure(tensor, np.empty(0, np.intp)).broken


def _untrained(case: Case, tensor: RowTensor, ids: NDArray[np.intp]) -> dict[str, NDArray[np.intp]]:
    """Return the ids among `ids` whose rows look untrained, by the reason."""
    rows = tensor.tensor.shape[0]
    known = np.asarray([i for i in case.spelled if i < rows and (i < case.first_new or not case.first_new)], np.intp)
    statistics = measure(tensor, known)
    known, ids = known[~statistics.broken[known]], ids[~statistics.broken[ids]]
    if not len(known) or not len(ids):
        return {}
    length, spread = float(np.median(statistics.norms[known])), float(np.median(statistics.distances[known]))
    kinds = {
        "equal to another": ids[repeated_rows(np.asarray(tensor.values[ids]))],
        "far shorter than the old ones": ids[statistics.norms[ids] < NEAR * length],
        "at the mean of the old ones": ids[statistics.distances[ids] < NEAR * spread],
        "among rows that were never used": _unused(case, tensor, ids, known),
    }
    if case.first_new and _drawn(statistics, tensor.tensor.shape[1], ids, known):
        kinds["with the lengths of random vectors"] = ids
    return kinds


def _unused(case: Case, tensor: RowTensor, ids: NDArray[np.intp], known: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the ids whose rows lie as near to the mean of never-used rows as those do themselves."""
    tokenizer = case.patient.tokenizer
    assert tokenizer is not None
    table = tokenizer.id_table
    spellings = [(tokenizer.find(bytes([byte])), table.get(f"<0x{byte:02X}>")) for byte in NEVER_IN_TEXT]
    never = [i for pair in spellings for i in pair if i is not None]
    padding = [i for i in range(tensor.tensor.shape[0]) if i not in case.spelled]
    unused = np.asarray(sorted({*never, *padding}), np.intp)
    unused = unused[unused < tensor.tensor.shape[0]]
    if len(unused) < FEWEST_UNUSED:
        return np.empty(0, np.intp)
    centre = np.asarray(tensor.values[unused], np.float32).mean(0)
    if not bool(np.isfinite(centre).all()):
        return np.empty(0, np.intp)
    distances = distances_from(tensor, centre)
    radius = float(distances[unused].max())
    # Where never-used rows are scattered like all others, nothing can be told from them.
    if radius > 0.5 * float(np.median(distances[known])):
        return np.empty(0, np.intp)
    return np.setdiff1d(ids[distances[ids] <= radius], unused)


def _drawn(statistics: RowStatistics, width: int, ids: NDArray[np.intp], known: NDArray[np.intp]) -> bool:
    """Return whether the new rows have the lengths of random ones, and the old ones have not."""
    if len(ids) < FEWEST_DRAWN:
        return False
    chance = 1 / math.sqrt(2 * width)
    new, old = (_variation(statistics.norms[which]) for which in (ids, known))
    return new < DRAWN * chance and old > LEARNED * chance


def _variation(norms: NDArray[np.float32]) -> float:
    mean = float(norms.mean())
    return float(norms.std()) / mean if mean > 0 else math.inf
