"""Write a checkpoint with more rows: only the shards that hold vocabulary rows change, the rest is copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.copying import ChecksumWriter, copy_file, shares_blocks
from vocabkit.errors import CheckpointError
from vocabkit.rows.checkpoint import CONFIG, INDEX, PICKLES, Checkpoint, RowTensor, vocab_sizes
from vocabkit.rows.safetensors_file import Header, header_bytes

# Copying is bound by one core's memory traffic; more than two gain nothing where they were measured.
WORKERS = 2
# Written anew, or no longer true: tokenizers, other formats of the same weights, reports about them.
LEFT_OUT = (
    *PICKLES, "*.safetensors", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.tiktoken", "*.index.json",
    "tokenizer*", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt", "merges.txt",
    "added_tokens.json", "special_tokens_map.json", "chat_template*", "vocabulary.jsonl", "vocabkit.json",
    "README.md", CONFIG, "generation_config.json", "tekken.json", "training_args*",
)  # fmt: skip


@dataclass(frozen=True)
class NewRows:
    """The rows of one tensor beyond those of the base's tokens.

    tokens: [M, width] in the tensor's own format, for the ids right after the base's.
    padding: [width], what every further row is, unless the base has one there already.
    """

    tokens: NDArray[Any]
    padding: NDArray[Any]


def extend_checkpoint(
    checkpoint: Checkpoint,
    folder: Path,
    make: Callable[[], Mapping[str, NewRows]],
    *,
    first: int,
    rows: int,
    link: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, str]:
    """Write `checkpoint` with `rows` rows into `folder`; return file name -> XXH3 checksum of every shard.

    make: returns tensor name -> its rows from id `first` on; called while other shards are being copied.
        Rows below `first`, and every other tensor, keep their bytes.
    link: hard-link untouched shards.
    Raises CheckpointError when the disk has no room for it.
    """
    touched = {tensor.header.path.name for tensor in checkpoint.row_tensors}
    _check_space(checkpoint, folder, touched, rows, link)

    def started(name: str) -> Header:
        if progress:
            progress(f"Writing {name}")
        return checkpoint.shards[name]

    def copied(name: str) -> str:
        return copy_file(started(name).path, folder / name, link=link)

    def rewritten(name: str, new: Mapping[str, NewRows]) -> str:
        return _rewrite(started(name), checkpoint.row_tensors, folder / name, new, first, rows)

    # The largest first: the last one alone would leave a core without work.
    order = sorted(checkpoint.shards, key=lambda name: -checkpoint.shards[name].path.stat().st_size)
    pool = ThreadPoolExecutor(WORKERS)
    try:
        running = {name: pool.submit(copied, name) for name in order if name not in touched}
        new = make()
        running |= {name: pool.submit(rewritten, name, new) for name in order if name in touched}
        checksums = {name: running[name].result() for name in order}
    finally:
        pool.shutdown(cancel_futures=True)
    if checkpoint.index is not None:
        _write_json(folder / INDEX, _grown_index(checkpoint, rows))
    _write_json(folder / CONFIG, _grown_config(checkpoint, rows))
    _copy_others(checkpoint.folder, folder)
    return checksums


def grown_bytes(checkpoint: Checkpoint, rows: int) -> int:
    """Return how many bytes the row tensors grow by."""
    return sum((rows - t.tensor.shape[0]) * (t.tensor.nbytes // t.tensor.shape[0]) for t in checkpoint.row_tensors)


def _rewrite(
    header: Header,
    row_tensors: tuple[RowTensor, ...],
    target: Path,
    new: Mapping[str, NewRows],
    first: int,
    rows: int,
) -> str:
    held = {tensor.name for tensor in row_tensors}
    entries = []
    for name, tensor in header.tensors.items():
        shape, nbytes = tensor.shape, tensor.nbytes
        if name in held:
            shape, nbytes = (rows, *shape[1:]), nbytes // shape[0] * rows
        entries.append((name, tensor.dtype, shape, nbytes))
    with header.path.open("rb", buffering=0) as source, target.open("wb") as out:
        writer = ChecksumWriter(out)
        writer.write(header_bytes(entries, header.metadata))
        for name, tensor in header.tensors.items():
            if name not in held:
                writer.copy(source, tensor.start, tensor.nbytes)
                continue
            one = tensor.nbytes // tensor.shape[0]
            made = new[name]
            after = first + len(made.tokens)
            writer.copy(source, tensor.start, first * one)
            writer.write(_raw(made.tokens))
            if after < tensor.shape[0]:
                # The base's own padding goes on after the tokens that took some of it.
                writer.copy(source, tensor.start + after * one, (tensor.shape[0] - after) * one)
            writer.write(_raw(made.padding) * (rows - max(after, tensor.shape[0])))
    return writer.checksum.hexdigest()


def _raw(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def _grown_index(checkpoint: Checkpoint, rows: int) -> dict[str, Any]:
    index = dict(checkpoint.index or {})
    metadata = dict(index.get("metadata") or {})
    grown = grown_bytes(checkpoint, rows)
    if isinstance(metadata.get("total_size"), int):
        metadata["total_size"] += grown
    if isinstance(metadata.get("total_parameters"), int):
        metadata["total_parameters"] += sum(
            (rows - t.tensor.shape[0]) * int(np.prod(t.tensor.shape[1:])) for t in checkpoint.row_tensors
        )
    return {**index, "metadata": metadata} if metadata else index


def _grown_config(checkpoint: Checkpoint, rows: int) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(json.dumps(checkpoint.config))
    for part in vocab_sizes(config):
        part["vocab_size"] = rows
    return config


def _copy_others(base: Path, folder: Path) -> None:
    """Copy licence, code and whatever else belongs to the model."""
    for path in sorted(base.iterdir()):
        if path.is_file() and not path.name.startswith(".") and not any(path.match(name) for name in LEFT_OUT):
            shutil.copyfile(path, folder / path.name)


def _check_space(checkpoint: Checkpoint, folder: Path, touched: set[str], rows: int, link: bool) -> None:
    sizes = {name: header.path.stat().st_size for name, header in checkpoint.shards.items()}
    needed = sum(size for name, size in sizes.items() if name in touched or not link)
    needed += grown_bytes(checkpoint, rows)
    free = shutil.disk_usage(folder).free
    if free < needed and not (
        free > sum(sizes[name] for name in touched) and shares_blocks(checkpoint.folder, folder)
    ):
        raise CheckpointError(
            f"the model takes {needed / 1e9:.1f} GB and the disk of {folder.parent} has {free / 1e9:.1f} GB free; "
            f"free some, choose another --output, or save space with --link"
        )


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
