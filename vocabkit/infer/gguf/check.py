"""Read a GGUF file back and compare it with what it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Format

from vocabkit.errors import CheckpointError
from vocabkit.infer.gguf.tensors import Planned
from vocabkit.infer.gguf.vocabulary import PREFIX, Vocabulary

# Of every tensor, spread evenly: enough to see a wrong order or format.
ROWS_COMPARED = 512
# The relative root-mean-square error that a format may have: 11 or 8 bits of each, 1/127 or 1/8 of a block's largest.
LIMITS = {Format.F32: 0.0, Format.F16: 5e-4, Format.BF16: 4e-3, Format.Q8_0: 0.01, Format.Q4_0: 0.15}


def check_file(path: Path, tensors: Sequence[Planned], vocabulary: Vocabulary) -> float:
    """Return the largest relative root-mean-square error of a tensor in `path`.

    Raises CheckpointError when a token or a tensor is missing, has another shape, or is farther from its original
    than its format explains.
    """
    reader = gguf.GGUFReader(path)
    _check_tokens(path, reader, vocabulary)
    found = {tensor.name: tensor for tensor in reader.tensors}
    if set(found) != {tensor.name for tensor in tensors}:
        raise _wrong(path, f"it holds {len(found)} tensors of {len(tensors)}")
    return max(_error(path, found[tensor.name], tensor) for tensor in tensors)


def _check_tokens(path: Path, reader: gguf.GGUFReader, vocabulary: Vocabulary) -> None:
    embedding = next((tensor for tensor in reader.tensors if tensor.name == "token_embd.weight"), None)
    rows = None if embedding is None else int(embedding.shape[-1])
    expected: dict[str, object] = {"tokens": vocabulary.texts, "token_type": vocabulary.kinds}
    if vocabulary.merges is not None:
        expected["merges"] = vocabulary.merges
    if vocabulary.scores is not None:
        expected["scores"] = np.asarray(vocabulary.scores, np.float32).tolist()
    for key, values in expected.items():
        field = reader.get_field(PREFIX + key)
        if field is None or field.contents() != values:
            raise _wrong(path, f"{PREFIX}{key} is not what was written")
    if rows != len(vocabulary.texts):
        raise _wrong(path, f"it has {len(vocabulary.texts):,} tokens and {rows} rows")


def _error(path: Path, found: gguf.ReaderTensor, tensor: Planned) -> float:
    shape = tuple(int(size) for size in reversed(found.shape))
    if shape != tensor.shape or found.tensor_type != tensor.format:
        raise _wrong(path, f"{tensor.name} is {found.tensor_type.name} {list(shape)}, not {list(tensor.shape)}")
    picked = np.unique(np.linspace(0, tensor.rows - 1, min(tensor.rows, ROWS_COMPARED)).astype(np.intp))
    stored = found.data if len(shape) == 1 else found.data.reshape(tensor.rows, -1)
    values = gguf.quants.dequantize(np.ascontiguousarray(stored[picked]), tensor.format)
    original = tensor.values(picked).astype(np.float64)
    error = float(np.sqrt(np.mean((values - original) ** 2)) / max(np.sqrt(np.mean(original**2)), 1e-30))
    if not error <= LIMITS[tensor.format]:
        raise _wrong(path, f"{tensor.name} differs from the original by {error:.2g} of its size")
    return error


def _wrong(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"{path.name} does not read back as it was written: {problem}; the disk may be at fault")
