"""The header of a safetensors file, read without trusting it.

A file is eight bytes (the header's length, little endian), a JSON header that names every tensor with its
format, shape and place, and the data.  Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.errors import CheckpointError
from vocabkit.rows.dtypes import BITS

# The library's own limit; a larger header is an attack or damage.
MAX_HEADER_BYTES = 100_000_000
METADATA = "__metadata__"


@dataclass(frozen=True)
class Tensor:
    """A tensor as its header describes it.

    start, end: its bytes, counted from the beginning of the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def nbytes(self) -> int:
        """The size of its data in bytes."""
        return self.end - self.start


@dataclass(frozen=True)
class Header:
    """What a safetensors file holds; `tensors` in the order of their data."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Return the header of `path`, every offset checked against the file's size.

    Raises CheckpointError, with the file and what to do, for a header that is damaged, truncated or hostile.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise _damaged(path, f"it has {size:,} bytes and is cut off before the end of its header")
        if length > MAX_HEADER_BYTES:
            raise _damaged(path, f"its header claims {length:,} bytes")
        data = file.read(length)
    try:
        entries = json.loads(data, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not valid ({_first_line(error)})") from error
    if not isinstance(entries, dict):
        raise _damaged(path, "its header is no JSON object")
    metadata = entries.pop(METADATA, {})
    if not isinstance(metadata, dict):
        raise _damaged(path, "its metadata is no JSON object")
    begin = 8 + length
    tensors = sorted((_tensor(path, name, entry, begin) for name, entry in entries.items()), key=_place)
    at = begin
    for tensor in tensors:
        if tensor.start != at:
            problem = "overlaps another" if tensor.start < at else "leaves a hole before it"
            raise _damaged(path, f"tensor {tensor.name!r} {problem}")
        at = tensor.end
    if at != size:
        problem = "is cut off" if at > size else "goes on after the last tensor"
        raise _damaged(path, f"it {problem}: {at:,} bytes described, {size:,} bytes found")
    return Header(path, {tensor.name: tensor for tensor in tensors}, metadata)


def header_bytes(tensors: Iterable[tuple[str, str, tuple[int, ...], int]], metadata: dict[str, str]) -> bytes:
    """Return the length and header of a file with `tensors` (name, dtype, shape, bytes) in this order."""
    header: dict[str, Any] = {METADATA: metadata} if metadata else {}
    at = 0
    for name, dtype, shape, nbytes in tensors:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + nbytes]}
        at += nbytes
    data = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Data begins at a multiple of eight bytes, so that readers can map it.
    data += b" " * (-len(data) % 8)
    return len(data).to_bytes(8, "little") + data


def _tensor(path: Path, name: str, entry: Any, begin: int) -> Tensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path, f"tensor {name!r} has no dtype, shape and data_offsets") from error
    numbers = (*shape, start, end)
    if not isinstance(dtype, str) or any(type(n) is not int or n < 0 or n >= 1 << 63 for n in numbers):
        raise _damaged(path, f"tensor {name!r} has an impossible dtype, shape or place")
    bits = BITS.get(dtype)
    if end < start or (bits is not None and math.prod(shape) * bits != 8 * (end - start)):
        raise _damaged(path, f"tensor {name!r} of shape {list(shape)} and type {dtype} has {end - start:,} bytes")
    return Tensor(name, dtype, shape, begin + start, begin + end)


def _place(tensor: Tensor) -> tuple[int, int]:
    return tensor.start, tensor.end


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _damaged(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"{path} is no sound safetensors file: {problem}; fetch it again")
