"""Write a model folder as one GGUF file, tensor by tensor; it appears whole, checked, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from vocabkit.errors import VocabkitError
from vocabkit.files import check_file_target, whole_file
from vocabkit.infer.gguf.architectures import Architecture, Value, architecture_of, differences, hyperparameters
from vocabkit.infer.gguf.check import check_file
from vocabkit.infer.gguf.tensors import FORMATS, Planned, plan
from vocabkit.infer.gguf.vocabulary import PREFIX, Vocabulary, vocabulary_of
from vocabkit.manifest import read_manifest
from vocabkit.rows.checkpoint import Checkpoint, open_checkpoint, read_json
from vocabkit.tokenizer import open_tokenizer

MAGIC = b"GGUF"
GENERATION_CONFIG = "generation_config.json"


@dataclass(frozen=True)
class Written:
    """What was written.

    tokens: rows of the vocabulary, padding included.  error: the largest relative root-mean-square error of a tensor.
    differences: what llama.cpp does otherwise than transformers.
    """

    path: Path
    architecture: str
    type_name: str
    pre: str
    nbytes: int
    tensors: int
    tokens: int
    padding: int
    error: float
    differences: list[str]


def write_gguf(
    folder: Path,
    path: Path,
    *,
    type_name: str = "f16",
    pre: str | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Written:
    """Write the model in `folder` as the GGUF file `path`, read it back, and only then put it in its place.

    type_name: "f32", "f16", "bf16", "q8_0" or "q4_0"; vectors stay float32.
    pre: llama.cpp's name of the pre-tokenizer, when it is not found by itself.
    Raises CheckpointError or TokenizerError for a model that llama.cpp cannot run, and when the disk has no room.
    """
    checkpoint = open_checkpoint(folder)
    architecture = architecture_of(checkpoint.config, folder)
    tokenizer = open_tokenizer(folder)
    settings = _settings(checkpoint)
    vocabulary = vocabulary_of(tokenizer, checkpoint.rows, settings, manifest=read_manifest(folder), pre=pre)
    tensors = plan(checkpoint, architecture, type_name)
    _check_target(path, force)
    with whole_file(path, needed=sum(tensor.nbytes for tensor in tensors)) as temporary:
        if progress:
            progress(f"Writing {path.name}")
        _write(temporary, checkpoint, architecture, vocabulary, tensors, type_name)
        if progress:
            progress("Reading it back")
        error = check_file(temporary, tensors, vocabulary)
        nbytes = temporary.stat().st_size
    return Written(
        path, architecture.name, type_name, str(vocabulary.values["pre"]), nbytes, len(tensors), checkpoint.rows,
        checkpoint.rows - tokenizer.size, error, [*vocabulary.differences, *differences(checkpoint.config)],
    )  # fmt: skip


def _settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return config.json with generation_config.json over it."""
    path = checkpoint.folder / GENERATION_CONFIG
    said = read_json(path) if path.is_file() else {}
    return checkpoint.config | {key: value for key, value in said.items() if value is not None}


def _write(
    path: Path,
    checkpoint: Checkpoint,
    architecture: Architecture,
    vocabulary: Vocabulary,
    tensors: Sequence[Planned],
    type_name: str,
) -> None:
    writer = gguf.GGUFWriter(None, architecture.name)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(checkpoint.folder.resolve().name)
    writer.add_file_type(FORMATS[type_name][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in hyperparameters(checkpoint.config, checkpoint.rows).items():
        _add(writer, f"{architecture.name}.{key}", value)
    _add_vocabulary(writer, vocabulary)
    for tensor in tensors:
        # The format given last is what counts; this one only must not be bytes.
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), tensor.nbytes, raw_dtype=tensor.format
        )
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        # Not by `write_tensor_data`, which wants a whole tensor at a time.
        files: Any = writer.fout
        for tensor in tensors:
            writer.write_padding(files[0], files[0].tell())
            for block in tensor.blocks():
                block.tofile(files[0])
        writer.write_padding(files[0], files[0].tell())
        files[0].flush()
        os.fsync(files[0].fileno())
    finally:
        writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    for key, value in vocabulary.values.items():
        _add(writer, PREFIX + key, value)
    writer.add_token_list(vocabulary.texts)
    writer.add_token_types(vocabulary.kinds)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges is not None:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.suppressed:
        writer.add_array(f"{PREFIX}suppress_tokens", vocabulary.suppressed)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)


def _add(writer: gguf.GGUFWriter, key: str, value: Value) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)


def _check_target(target: Path, force: bool) -> None:
    if not target.exists():
        return
    check_file_target(target, force)
    with target.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise VocabkitError(f"{target} is no GGUF file; choose another --output")
