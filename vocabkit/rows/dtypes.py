"""The number formats of safetensors, as NumPy knows them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import CheckpointError

# Formats that can hold vocabulary rows.
FLOATS: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
# Bits of one element of every format; the bodies of quantised models use all of them.
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "C64": 64,
    **{name: 8 * dtype.itemsize for name, dtype in FLOATS.items()},
}  # fmt: skip


def rounded(rows: NDArray[np.float32], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Return `rows` in the format of the checkpoint, rounded to nearest even.

    Raises CheckpointError when a value is no number or does not fit.
    """
    # Not a number and too large are told from the result: the library only warns.
    with np.errstate(over="ignore", invalid="ignore"):
        cast = rows.astype(dtype)
    if not bool(np.isfinite(cast).all()):
        raise CheckpointError(f"{what}: new rows hold values that {dtype.name} cannot; choose another --init")
    return cast
