"""Norms of the rows of a matrix, how far they are from its mean, and which hold no numbers.

Untrained rows are told by them, after Land and Bartolo 2024 (arXiv 2405.05417): rows that training never reached
stay together, near each other or near where they began.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vocabkit.rows.checkpoint import RowTensor

BLOCK_ROWS = 4096


@dataclass(frozen=True)
class RowStatistics:
    """One number per row of a matrix, [V].

    norms: lengths.  distances: from the mean of the old rows.  broken: whether a value is NaN or infinite.
    """

    norms: NDArray[np.float32]
    distances: NDArray[np.float32]
    broken: NDArray[np.bool_]


def measure(tensor: RowTensor, old: NDArray[np.intp]) -> RowStatistics:
    """Read a matrix twice, some thousand rows at a time.  old: rows whose mean is the measure."""
    values = tensor.values
    number = len(values)
    norms, broken = np.zeros(number, np.float32), np.zeros(number, np.bool_)
    is_old = np.zeros(number, np.bool_)
    is_old[old] = True
    total = np.zeros(values.shape[1], np.float64)
    count = 0
    for start in range(0, number, BLOCK_ROWS):
        block = np.array(values[start : start + BLOCK_ROWS], np.float32)
        end = start + len(block)
        broken[start:end] = ~np.isfinite(block).all(1)
        block[broken[start:end]] = 0
        norms[start:end] = np.sqrt(np.einsum("ij,ij->i", block, block))
        chosen = is_old[start:end] & ~broken[start:end]
        total += block[chosen].sum(0, dtype=np.float64)
        count += int(chosen.sum())
    mean = (total / max(count, 1)).astype(np.float32)
    return RowStatistics(norms, distances_from(tensor, mean), broken)


def distances_from(tensor: RowTensor, point: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far each row is from `point`, [V]; 0 for a row that holds no numbers."""
    values = tensor.values
    distances = np.zeros(len(values), np.float32)
    for start in range(0, len(values), BLOCK_ROWS):
        block = np.asarray(values[start : start + BLOCK_ROWS], np.float32) - point
        distances[start : start + len(block)] = np.sqrt(np.einsum("ij,ij->i", block, block))
    return np.nan_to_num(distances, nan=0.0, posinf=0.0)
