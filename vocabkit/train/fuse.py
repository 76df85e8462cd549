"""Make a plain model of a run: its adapters added to the weights, its rows put in their place, shard by shard."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vocabkit_kernels import merge_lora

from vocabkit.copying import ChecksumWriter, copy_file
from vocabkit.errors import CheckpointError, VocabkitError
from vocabkit.files import MANIFEST, whole_folder
from vocabkit.manifest import XXH3, inherited, write_manifest
from vocabkit.model.names import EXPERT_NAMES, PLACES
from vocabkit.model.trained import Trained, instruction_template
from vocabkit.rows.checkpoint import Checkpoint, open_checkpoint
from vocabkit.rows.safetensors_file import Header, header_bytes
from vocabkit.rows.safetensors_file import Tensor as Stored

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Delta:
    """scale B A, for a tensor, or for rows from `row` on of the matrix of one `expert` in it."""

    a: Tensor
    b: Tensor
    scale: float
    expert: int | None = None
    row: int = 0


def fuse(
    runs: Sequence[Trained],
    base: Path,
    output: Path,
    *,
    force: bool = False,
    check: Callable[[Path], Mapping[str, Any]] | None = None,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write `base` with what `runs` learned into the folder `output`, which appears whole or not at all.

    Adapters are added in the order of the runs, in float32, and rounded once; rows are those of the last run that has
    them.  At most a few times the largest tensor is in memory.
    check: called with the finished folder before it appears; what it returns goes to the manifest.
    Raises CheckpointError when an adapter fits no tensor.
    """
    _check_output(output, [base, *(one.folder for one in runs)])
    checkpoint = open_checkpoint(base)
    names = {name: header for header in checkpoint.shards.values() for name in header.tensors}
    deltas = _deltas(runs, names)
    rows = _rows(runs, checkpoint)
    with whole_folder(output, force=force) as folder:
        checksums = {}
        for shard, header in checkpoint.shards.items():
            if progress:
                progress(f"Writing {shard}")
            if any(name in deltas or name in rows for name in header.tensors):
                checksums[shard] = _rewritten(header, folder / shard, deltas, rows)
            else:
                checksums[shard] = copy_file(header.path, folder / shard)
        for path in sorted(base.iterdir()):
            if path.is_file() and path.name not in (MANIFEST, *checkpoint.shards) and not path.name.startswith("."):
                shutil.copyfile(path, folder / path.name)
        facts = inherited(base)
        for template in filter(None, (instruction_template(one.folder) for one in runs)):
            facts["template"] = template
        write_manifest(
            folder,
            "fuse",
            arguments={"runs": [one.folder.name for one in runs], "steps": [one.saved.step for one in runs]},
            inputs=[one.saved.folder / "trained.safetensors" for one in runs],
            checksums={name: f"{XXH3}{value}" for name, value in checksums.items()},
            **facts,
            **({"fused": dict(check(folder))} if check else {}),
        )


def _check_output(output: Path, inputs: Sequence[Path]) -> None:
    """Raise VocabkitError where the output would take the place of what it is made of."""
    target = output.resolve()
    for one in (path.resolve() for path in inputs):
        if target == one or target in one.parents or one in target.parents:
            raise VocabkitError(f"{output} is, holds or lies in {one}, which is read; choose another --output")


def _deltas(runs: Sequence[Trained], names: Mapping[str, Header]) -> dict[str, list[Delta]]:
    """Return tensor on disk -> what is added to it, in order."""
    found: dict[str, list[Delta]] = {}
    for one in runs:
        for layer, (a, b) in one.adapters.items():
            for name, delta in _placed(layer, a, b, one.scale, names):
                _check_shape(name, delta, names[name].tensors[name])
                found.setdefault(name, []).append(delta)
    return found


def _placed(layer: str, a: Tensor, b: Tensor, scale: float, names: Mapping[str, Header]) -> list[tuple[str, Delta]]:
    """Return where on disk an adapter belongs: a tensor of its own, or parts of one that holds all experts."""
    for before, after in PLACES:
        path = layer.replace(before, after) if before else layer
        if a.dim() == 2 and f"{path}.weight" in names:
            return [(f"{path}.weight", Delta(a, b, scale))]
        if a.dim() == 2:
            continue
        experts, _, matrix = path.rpartition(".")
        for name in EXPERT_NAMES[matrix]:
            if f"{experts}.0.{name}.weight" in names:
                return [(f"{experts}.{i}.{name}.weight", Delta(a[i], b[i], scale)) for i in range(len(a))]
        whole = f"{experts}.down_proj" if matrix == "w2" else f"{experts}.gate_up_proj"
        if whole in names:
            row = b.shape[1] if matrix == "w3" else 0
            return [(whole, Delta(a[i], b[i], scale, i, row)) for i in range(len(a))]
    raise CheckpointError(
        f"the model has no tensor for the adapter of {layer}; fuse it onto the model it was trained on"
    )


def _check_shape(name: str, delta: Delta, stored: Stored) -> None:
    rows, columns = stored.shape[-2:]
    if delta.a.shape[1] != columns or delta.row + len(delta.b) > rows:
        raise CheckpointError(
            f"the adapter of {name} is for [{len(delta.b)}, {delta.a.shape[1]}], the tensor is {list(stored.shape)}"
        )
    if stored.dtype not in DTYPES:
        raise CheckpointError(f"{name} has the type {stored.dtype}; fuse onto the model before it is quantised")


def _rows(runs: Sequence[Trained], checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return row tensor -> its last rows."""
    found: dict[str, Tensor] = {}
    for one in runs:
        if "rows.input" in one.tensors:
            _overlay(found, checkpoint.input.name, one.tensors["rows.input"])
            if checkpoint.tied and checkpoint.head is not None:
                found[checkpoint.head.name] = found[checkpoint.input.name]
        if "rows.head" in one.tensors:
            if checkpoint.head is None:
                raise CheckpointError(f"{one.folder} trained a head, and {checkpoint.folder} has none of its own")
            _overlay(found, checkpoint.head.name, one.tensors["rows.head"])
    return found


def _overlay(found: dict[str, Tensor], name: str, rows: Tensor) -> None:
    """Put rows over the last of those that an earlier run trained, which may be more."""
    before = found.get(name)
    kept = before[: max(0, len(before) - len(rows))] if before is not None else rows[:0]
    found[name] = torch.cat([kept, rows])


def _rewritten(
    header: Header, target: Path, deltas: Mapping[str, Sequence[Delta]], rows: Mapping[str, Tensor]
) -> str:
    entries = [(name, tensor.dtype, tensor.shape, tensor.nbytes) for name, tensor in header.tensors.items()]
    with header.path.open("rb", buffering=0) as source, target.open("wb") as out:
        writer = ChecksumWriter(out)
        writer.write(header_bytes(entries, header.metadata))
        for name, stored in header.tensors.items():
            if name in rows:
                new = rows[name].to(DTYPES[stored.dtype])
                writer.copy(source, stored.start, stored.nbytes - new.nbytes)
                writer.write(_raw(new))
            elif name in deltas:
                writer.write(_raw(_merged(header.path, stored, deltas[name])))
            else:
                writer.copy(source, stored.start, stored.nbytes)
    return writer.checksum.hexdigest()


def _merged(path: Path, stored: Stored, deltas: Sequence[Delta]) -> Tensor:
    data = torch.from_numpy(np.fromfile(path, np.uint8, stored.nbytes, offset=stored.start))
    weight = data.view(DTYPES[stored.dtype]).view(stored.shape)
    places: dict[tuple[int | None, int, int], list[tuple[Tensor, Tensor, float]]] = {}
    for delta in deltas:
        place = (delta.expert, delta.row, len(delta.b))
        places.setdefault(place, []).append((delta.a, delta.b, delta.scale))
    for (expert, row, count), adapters in places.items():
        part = (weight if expert is None else weight[expert])[row : row + count]
        part.copy_(merge_lora(part, adapters))
    return weight


def _raw(tensor: Tensor) -> memoryview:
    data: Any = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    return memoryview(data)
