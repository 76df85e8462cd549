"""No two new rows may be equal: two tokens with one row are one token to the model, and train as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vocabkit.errors import CheckpointError
from vocabkit.rows.dtypes import rounded

# First noise, as a share of the old rows' root mean square; doubled until the format tells the rows apart.
FIRST_NOISE = 1 / 64
ROUNDS = 8


def made_distinct(
    rows: NDArray[np.float32], dtype: np.dtype[Any], rms: float, seed: int, what: str
) -> tuple[NDArray[Any], int]:
    """Return `rows` in `dtype` with every one different, and how many had to be moved.

    Of rows that are equal in `dtype` all but the first get noise, as little as tells them apart.
    rms: root mean square of the old rows' values, the measure for the noise.
    """
    cast = rounded(rows, dtype, what)
    moved: set[int] = set()
    generator = np.random.default_rng(seed)
    for attempt in range(ROUNDS):
        again = repeated_rows(cast)
        if not len(again):
            return cast, len(moved)
        moved |= set(again.tolist())
        noise = generator.standard_normal((len(again), rows.shape[1]), np.float32)
        scale = np.float32(max(rms, 1e-6) * FIRST_NOISE * 2**attempt)
        cast[again] = rounded(rows[again] + noise * scale, dtype, what)
    raise CheckpointError(f"{what}: {len(again):,} new rows stay equal in {dtype.name}; choose another --init")


def repeated_rows(rows: NDArray[Any]) -> NDArray[np.intp]:
    """Return the places of rows that are equal, bit by bit, to one before them."""
    raw = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    known: set[int] = set()
    repeated = []
    for i, row in enumerate(raw):
        # 128 bits: an accident among a million rows has a chance of 1e-27.
        key = xxhash.xxh3_128_intdigest(row.data)
        if key in known:
            repeated.append(i)
        known.add(key)
    return np.asarray(repeated, np.intp)
