"""Open a model folder: its config, its shards and the tensors that hold one row per token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import CheckpointError
from vocabkit.rows.architectures import HEADS, INPUTS, NESTED, UNSUPPORTED, bias_of
from vocabkit.rows.dtypes import FLOATS
from vocabkit.rows.safetensors_file import Header, Tensor, read_header

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Opening them runs code that they hold.
PICKLES = ("*.bin", "*.pt", "*.pth")
COMPARED_BYTES = 1 << 24


@dataclass(frozen=True)
class RowTensor:
    """A tensor with one row per token.  role: "input", "head" or "head bias"."""

    role: str
    header: Header
    tensor: Tensor

    @property
    def name(self) -> str:
        """Its name in the checkpoint."""
        return self.tensor.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its number format."""
        return FLOATS[self.tensor.dtype]

    @property
    def values(self) -> NDArray[Any]:
        """Its values in their own format, [rows, width] ([rows] for a bias), mapped from the file anew each time.

        What was read counts as this process's memory until the array is gone.
        """
        mapped = np.memmap(self.header.path, np.uint8, "r", self.tensor.start, (self.tensor.nbytes,))
        values: NDArray[Any] = mapped.view(self.dtype).reshape(self.tensor.shape)
        return values


@dataclass(frozen=True)
class Checkpoint:
    """A model folder with safetensors weights.

    config: config.json as it is.  index: the index file, None for a single file.
    shards: file name -> header.  input, head, bias: the row tensors; `head` is None for a tied model whose head
    is not saved, and for a model without one.  tied: input and head are one matrix.
    """

    folder: Path
    config: dict[str, Any]
    index: dict[str, Any] | None
    shards: dict[str, Header]
    input: RowTensor
    head: RowTensor | None
    bias: RowTensor | None
    tied: bool

    @property
    def rows(self) -> int:
        """Rows of the vocabulary matrices, padding included."""
        return self.input.tensor.shape[0]

    @property
    def width(self) -> int:
        """The size of an input embedding."""
        return self.input.tensor.shape[1]

    @property
    def row_tensors(self) -> tuple[RowTensor, ...]:
        """Every tensor with one row per token."""
        return tuple(tensor for tensor in (self.input, self.head, self.bias) if tensor is not None)


def holds_model(folder: Path) -> bool:
    """Return whether `folder` looks like a model, and not like a tokenizer alone."""
    if not (folder / CONFIG).is_file():
        return False
    return any(next(folder.glob(pattern), None) for pattern in ("*.safetensors", INDEX, *PICKLES))


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read config, index and every header of a model folder, and find its vocabulary rows.

    Raises CheckpointError, naming the file and the mend, when something is missing, damaged or contradictory.
    """
    config = read_json(folder / CONFIG)
    index, names = _shard_names(folder)
    shards = {name: read_header(folder / name) for name in names}
    where = _where(folder, index, shards)
    for name in where:
        if name.endswith(UNSUPPORTED):
            raise CheckpointError(f"{folder}: {name} holds vocabulary rows of a kind vocabkit cannot make yet")
    input_rows = _find("input", INPUTS, where)
    if input_rows is None:
        raise CheckpointError(_no_input(folder, where))
    head = _find("head", HEADS, where)
    bias = _find("head bias", (bias_of(head.name if head else HEADS[0]),), where)
    _check_shapes(folder, config, input_rows, head, bias)
    return Checkpoint(
        folder, config, index, shards, input_rows, head, bias, _is_tied(folder, config, input_rows, head)
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; raises CheckpointError when there is none."""
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; name a whole model folder")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch it again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds no JSON object; fetch it again")
    return data


def vocab_sizes(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every part of a config that says `vocab_size` for the text rows."""
    parts = [config, *(config[name] for name in NESTED if isinstance(config.get(name), dict))]
    return [part for part in parts if "vocab_size" in part]


def _shard_names(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX)
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{folder / INDEX} has no weight_map; fetch it again")
        names = sorted({str(name) for name in weight_map.values()})
        for name in names:
            if Path(name).name != name:
                raise CheckpointError(f"{folder / INDEX} names the shard {name!r} outside the folder; fetch it again")
            if not (folder / name).is_file():
                raise CheckpointError(f"{folder / name} is missing, {INDEX} names it; fetch it again")
        return index, names
    if (folder / SINGLE).is_file():
        return None, [SINGLE]
    found = sorted(path.name for path in folder.glob("*.safetensors") if not path.name.startswith("adapter"))
    if len(found) == 1:
        return None, found
    if found:
        raise CheckpointError(f"{folder} has {len(found)} safetensors files and no {INDEX}; fetch the index too")
    pickle = next((path for pattern in PICKLES for path in sorted(folder.glob(pattern))), None)
    if pickle:
        raise CheckpointError(
            f"{pickle} is a pickle, which runs code when it is opened; convert it where you trust it: "
            f'python -c "from transformers import AutoModelForCausalLM as M; '
            f"M.from_pretrained('{folder}', dtype='auto').save_pretrained('NEW_FOLDER')\""
        )
    raise CheckpointError(f"{folder} holds no {SINGLE} and no {INDEX}; name a folder with weights")


def _where(folder: Path, index: dict[str, Any] | None, shards: dict[str, Header]) -> dict[str, Header]:
    """Return the shard of every tensor, after comparing the index with the shards."""
    where: dict[str, Header] = {}
    for shard, header in shards.items():
        for name in header.tensors:
            if name in where:
                raise CheckpointError(
                    f"{folder}: {name} is in both {where[name].path.name} and {shard}; fetch them again"
                )
            where[name] = header
    for name, shard in index["weight_map"].items() if index else ():
        if name not in where or where[name].path.name != shard:
            raise CheckpointError(f"{folder / INDEX} says that {name} is in {shard}, and it is not; fetch both again")
    if index:
        unnamed = next((name for name in where if name not in index["weight_map"]), None)
        if unnamed:
            raise CheckpointError(
                f"{folder / INDEX} does not name {unnamed} of {where[unnamed].path.name}; fetch both again"
            )
    return where


def _find(role: str, names: tuple[str, ...], where: dict[str, Header]) -> RowTensor | None:
    name = next((name for name in names if name in where), None)
    return RowTensor(role, where[name], where[name].tensors[name]) if name else None


def _no_input(folder: Path, where: dict[str, Header]) -> str:
    quantised = next((name for name in where if "embed" in name and name.endswith("qweight")), None)
    if quantised:
        return f"{folder}: {quantised} holds quantised vocabulary rows; extend the model before it is quantised"
    near = ", ".join(name for name in where if "embed" in name or "wte" in name) or "none that looks like one"
    return (
        f"{folder}: no known input embedding among {len(where)} tensors ({near}); add its name to "
        f"vocabkit/rows/architectures.py"
    )


def _check_shapes(
    folder: Path, config: dict[str, Any], rows: RowTensor, head: RowTensor | None, bias: RowTensor | None
) -> None:
    for part in (rows, head, bias):
        if part is None:
            continue
        if part.tensor.dtype not in FLOATS:
            raise CheckpointError(
                f"{part.header.path}: {part.name} has the type {part.tensor.dtype}; extend the model before its "
                f"vocabulary rows are quantised"
            )
        if len(part.tensor.shape) != (1 if part is bias else 2) or part.tensor.shape[0] != rows.tensor.shape[0]:
            raise CheckpointError(
                f"{part.header.path}: {part.name} has the shape {list(part.tensor.shape)}, the input embedding "
                f"{rows.name} {list(rows.tensor.shape)}; the checkpoint is damaged or of an unknown kind"
            )
    for section in vocab_sizes(config):
        if section["vocab_size"] != rows.tensor.shape[0]:
            raise CheckpointError(
                f"{folder / CONFIG} says vocab_size {section['vocab_size']}, and {rows.name} has "
                f"{rows.tensor.shape[0]:,} rows; correct the config, or fetch the weights again"
            )
    if not vocab_sizes(config):
        raise CheckpointError(f"{folder / CONFIG} does not say vocab_size; fetch it again")


def _is_tied(folder: Path, config: dict[str, Any], rows: RowTensor, head: RowTensor | None) -> bool:
    parts = [config, *(config[name] for name in NESTED if isinstance(config.get(name), dict))]
    said = next((part["tie_word_embeddings"] for part in parts if "tie_word_embeddings" in part), None)
    names = config.get("architectures") or [""]
    predicts = str(names[0]).endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration"))
    if head is None:
        if said is False and predicts:
            raise CheckpointError(
                f"{folder / CONFIG} says tie_word_embeddings false, and no shard holds a head; set it to true, or "
                f"fetch the missing shard"
            )
        return said is not False and predicts
    if said is False:
        return False
    same = _same_values(rows, head)
    if said and not same:
        raise CheckpointError(
            f"{folder / CONFIG} says tie_word_embeddings true, and {head.name} differs from {rows.name}; set it to "
            f"false to keep both"
        )
    return same


def _same_values(a: RowTensor, b: RowTensor) -> bool:
    if (a.tensor.shape, a.tensor.dtype) != (b.tensor.shape, b.tensor.dtype):
        return False
    left, right = a.values.reshape(-1).view(np.uint8), b.values.reshape(-1).view(np.uint8)
    return all(
        np.array_equal(left[i : i + COMPARED_BYTES], right[i : i + COMPARED_BYTES])
        for i in range(0, len(left), COMPARED_BYTES)
    )
