"""Headers are read as the library writes them, and never trusted."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from vocabkit.errors import CheckpointError
from vocabkit.rows.safetensors_file import header_bytes, read_header

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((0, 4), np.float16), "c": np.int8([1])}


def written(path: Path, header: Any, data: bytes) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def entry(start: int, end: int, **changed: Any) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end], **changed}


def test_reads_what_the_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(TENSORS, path, {"format": "np"})
    header = read_header(path)
    assert header.metadata == {"format": "np"}
    assert {name: tensor.shape for name, tensor in header.tensors.items()} == {"a": (2, 3), "b": (0, 4), "c": (1,)}
    place = header.tensors["a"]
    assert path.read_bytes()[place.start : place.end] == TENSORS["a"].tobytes()


def test_writes_what_the_library_reads(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    path = tmp_path / "x.safetensors"
    data = np.arange(6, dtype=np.float32)
    path.write_bytes(header_bytes([("语", "F32", (3, 2), 24)], {"format": "pt"}) + data.tobytes())
    assert load_file(path)["语"].tolist() == data.reshape(3, 2).tolist()


@pytest.mark.parametrize(
    ("header", "data", "problem"),
    [
        ({"a": entry(0, 4), "b": entry(2, 6)}, b"123456", "overlaps another"),
        ({"a": entry(0, 4), "b": entry(5, 6)}, b"123456", "leaves a hole"),
        ({"a": entry(0, 4)}, b"123", "is cut off: .* described, .* found"),
        ({"a": entry(0, 4)}, b"12345", "goes on after the last tensor"),
        ({"a": entry(0, 4, shape=[5])}, b"1234", "of shape .5. and type U8 has 4 bytes"),
        ({"a": entry(0, 4, shape=[-4])}, b"1234", "impossible"),
        ({"a": entry(0, 4, shape=[2**70])}, b"1234", "impossible"),
        ({"a": entry(0, 4, shape=[True])}, b"1234", "impossible"),
        ({"a": entry(0, 4, shape=None)}, b"1234", "has no dtype, shape and data_offsets"),
        ({"a": entry(0, 4, data_offsets=[4, 0])}, b"1234", "has -4 bytes"),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":1}', b"1", "a name occurs twice"),
        (b"[" * 200_000, b"", "its header is not valid"),
        (b"[]", b"", "no JSON object"),
        ({"__metadata__": []}, b"", "its metadata"),
    ],
)
def test_a_hostile_header_is_one_clear_line(tmp_path: Path, header: Any, data: bytes, problem: str) -> None:
    path = written(tmp_path / "x.safetensors", header, data)
    with pytest.raises(CheckpointError, match=problem) as error:
        read_header(path)
    assert str(path) in str(error.value)
    assert "fetch it again" in str(error.value)


@pytest.mark.parametrize("claimed", [2**63, 200_000_000, 9])
def test_a_header_longer_than_its_file_is_not_read(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(claimed.to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="cut off before the end of its header"):
        read_header(path)


def test_damage_anywhere_in_the_header_is_told_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(TENSORS, path)
    sound = path.read_bytes()
    generator = random.Random(0)
    for _ in range(500):
        damaged = bytearray(sound)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(len(sound))] ^= 1 << generator.randrange(8)
        path.write_bytes(bytes(damaged[: generator.choice([len(sound), generator.randrange(len(sound))])]))
        try:
            header = read_header(path)
        except CheckpointError:
            continue
        assert all(0 <= t.start <= t.end <= path.stat().st_size for t in header.tensors.values())
