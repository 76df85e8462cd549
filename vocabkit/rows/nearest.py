"""The old rows that some rows are nearest to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_PER_BLOCK = 4096


def nearest_rows(
    values: NDArray[Any], ids: Sequence[int], old: int, number: int = 3
) -> list[list[tuple[int, float]]]:
    """Return, for each of `ids`, the `number` rows below `old` of the greatest cosine, the nearest first.

    values: [V, D] rows in any float format; read in blocks, computed in float32.  A row of zeros is near to none.
    """
    if not ids:
        return []
    queries_ND = _unit(values[np.asarray(ids)])
    best = np.full((len(ids), number), -2.0, np.float32)
    where = np.zeros((len(ids), number), np.int64)
    for start in range(0, old, ROWS_PER_BLOCK):
        block = _unit(values[start : min(start + ROWS_PER_BLOCK, old)])
        cosines = np.concatenate([best, queries_ND @ block.T], axis=1)
        rows = np.broadcast_to(np.arange(start, start + len(block)), (len(ids), len(block)))
        found = np.concatenate([where, rows], axis=1)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :number]
        best, where = np.take_along_axis(cosines, order, 1), np.take_along_axis(found, order, 1)
    return [
        [(int(row), float(cosine)) for row, cosine in zip(rows, cosines, strict=True) if cosine > -2]
        for rows, cosines in zip(where, best, strict=True)
    ]


def _unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows of length 1; zeros stay zeros, and what is no number becomes 0."""
    plain = np.nan_to_num(np.asarray(rows, np.float32), posinf=0.0, neginf=0.0)
    norms = np.linalg.norm(plain, axis=1, keepdims=True)
    unit: NDArray[np.float32] = plain / np.where(norms > 0, norms, 1)
    return unit
