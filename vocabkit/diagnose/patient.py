"""Open a folder or file that may be broken: whatever can be read is, and what cannot is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vocabkit.errors import TokenizerError, VocabkitError
from vocabkit.manifest import read_manifest
from vocabkit.rows.architectures import HEADS, INPUTS, bias_of
from vocabkit.rows.checkpoint import CONFIG, INDEX, PICKLES, SINGLE, RowTensor, read_json
from vocabkit.rows.dtypes import FLOATS
from vocabkit.rows.safetensors_file import Header, read_header
from vocabkit.tokenizer import hf_json, open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.open import MODEL_NAMES

GENERATION_CONFIG = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"
SETTINGS = (CONFIG, GENERATION_CONFIG, TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP)
# Texts -> the ids of each engine, in a process that has only the saved files.
Elsewhere = Callable[[Path, Sequence[str]], dict[str, list[list[int]]]]


@dataclass(frozen=True)
class Weights:
    """The safetensors files of a folder, compared with nothing yet.

    index: the index file, None without one.  headers: shard -> what can be read of it.  missing: shards that the
    index names.  where: tensor -> its shard.  twice: tensors in two shards.
    """

    folder: Path
    index: dict[str, Any] | None
    headers: dict[str, Header]
    missing: tuple[str, ...]
    where: dict[str, str]
    twice: tuple[str, ...]

    @property
    def named(self) -> dict[str, str]:
        """Tensor -> shard, as the index says; {} without one."""
        named = (self.index or {}).get("weight_map")
        return {str(tensor): str(shard) for tensor, shard in named.items()} if isinstance(named, dict) else {}

    @property
    def whole(self) -> bool:
        """Whether every tensor that ought to be there is."""
        return not self.missing and all(name in self.where for name in self.named)

    @cached_property
    def input(self) -> RowTensor | None:
        """The input embeddings."""
        return self._find("input", INPUTS)

    @cached_property
    def head(self) -> RowTensor | None:
        """The output head, None when none is stored."""
        return self._find("head", HEADS)

    @cached_property
    def bias(self) -> RowTensor | None:
        """The bias of the head."""
        return self._find("head bias", (bias_of(self.head.name if self.head else HEADS[0]),))

    @property
    def matrices(self) -> tuple[RowTensor, ...]:
        """Input and head, as far as they are stored in a format that can be read."""
        return tuple(tensor for tensor in (self.input, self.head) if tensor is not None)

    def _find(self, role: str, names: tuple[str, ...]) -> RowTensor | None:
        name = next((name for name in names if name in self.where), None)
        if name is None:
            return None
        header = self.headers[self.where[name]]
        tensor = header.tensors[name]
        readable = tensor.dtype in FLOATS and len(tensor.shape) == (1 if role == "head bias" else 2)
        return RowTensor(role, header, tensor) if readable else None


@dataclass
class Patient:
    """What could be read.

    path: as it was named.  folder: None for a single file.  tokenizer: None when there is none that can be opened.
    settings: file -> its content, {} for one that is not there.  weights: None without safetensors files.
    ggufs: GGUF files.  broken: what cannot be read, one line each.  unchecked: what was not looked at, and why.
    """

    path: Path
    folder: Path | None
    tokenizer: Tokenizer | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: {} for name in SETTINGS})
    manifest: dict[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    ggufs: tuple[Path, ...] = ()
    broken: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def config(self) -> dict[str, Any]:
        """config.json."""
        return self.settings[CONFIG]

    @property
    def json_path(self) -> Path | None:
        """Its tokenizer.json, None when there is none."""
        path = self.folder / "tokenizer.json" if self.folder else self.path
        return path if path.is_file() and path.suffix == ".json" else None

    @property
    def rows(self) -> int | None:
        """Rows of the embedding matrix; without weights what config.json says, None when nothing does."""
        if self.weights is not None and self.weights.input is not None:
            return self.weights.input.tensor.shape[0]
        text = self.config.get("text_config")
        said = self.config.get("vocab_size") or (text.get("vocab_size") if isinstance(text, dict) else None)
        return said if isinstance(said, int) else None


def examine(spec: str | Path) -> Patient:
    """Open what `spec` names as far as it goes; nothing that is wrong with it is an error here.

    spec: a model or tokenizer folder, a tokenizer file, a GGUF file, "starter" or a hub id.
    Raises TokenizerError when there is nothing to look at: no such file, or a folder without tokenizer and weights.
    """
    path = Path(spec)
    if path.is_file() and path.suffix == ".gguf":
        return _beside(path)
    if not path.is_dir():
        tokenizer = open_tokenizer(spec)
        source = tokenizer.source
        return examine(source) if source.is_dir() else Patient(source, None, tokenizer)
    patient = Patient(path, path, ggufs=tuple(sorted(path.glob("*.gguf"))))
    for name in SETTINGS:
        if (path / name).is_file():
            patient.settings[name] = _read(patient, path / name)
    try:
        patient.manifest = read_manifest(path) or {}
    except VocabkitError as error:
        patient.broken.append(str(error))
    patient.weights = _weights(patient, path)
    _open_tokenizer(patient, path)
    if patient.tokenizer is None and patient.weights is None and not patient.broken and not patient.ggufs:
        raise TokenizerError(f"{path} holds no tokenizer and no weights; name the folder of a model or tokenizer")
    return patient


def _beside(path: Path) -> Patient:
    """Return a GGUF file with the tokenizer that stands beside it, if there is one."""
    patient = Patient(path, None, ggufs=(path,))
    if (path.parent / "tokenizer.json").is_file():
        _open_tokenizer(patient, path.parent)
    return patient


def _read(patient: Patient, path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except VocabkitError as error:
        patient.broken.append(str(error))
        return {}


def _open_tokenizer(patient: Patient, folder: Path) -> None:
    names = ("tokenizer.json", *MODEL_NAMES)
    if not any((folder / name).is_file() for name in names) and not next(folder.glob("*.tiktoken"), None):
        patient.unchecked.append("the tokenizer: there is none in a format that vocabkit reads")
        return
    try:
        if (folder / "tokenizer.json").is_file():
            hf_json.read(folder / "tokenizer.json")
    except VocabkitError as error:
        patient.broken.append(str(error))
        return
    try:
        patient.tokenizer = open_tokenizer(folder)
    except VocabkitError as error:
        # A sound tokenizer.json of another family is no failure; a broken file beside it is named already.
        if not patient.broken:
            patient.unchecked.append(f"the tokenizer: {error}")


def _weights(patient: Patient, folder: Path) -> Weights | None:
    index = _read(patient, folder / INDEX) if (folder / INDEX).is_file() else None
    found = sorted(path.name for path in folder.glob("*.safetensors") if not path.name.startswith("adapter"))
    if index is None and (folder / SINGLE).is_file():
        found = [SINGLE]
    named = (index or {}).get("weight_map")
    shards = sorted({str(shard) for shard in named.values()}) if isinstance(named, dict) else found
    if not shards:
        if any(next(folder.glob(pattern), None) for pattern in PICKLES):
            patient.unchecked.append("the weights: they are pickles, which run code when they are opened")
        return None
    headers: dict[str, Header] = {}
    where: dict[str, str] = {}
    twice = []
    for shard in shards:
        if Path(shard).name != shard or not (folder / shard).is_file():
            continue
        try:
            headers[shard] = read_header(folder / shard)
        except VocabkitError as error:
            patient.broken.append(str(error))
            continue
        twice += [name for name in headers[shard].tensors if name in where]
        where |= dict.fromkeys(headers[shard].tensors, shard)
    missing = tuple(shard for shard in shards if shard not in headers)
    return Weights(folder, index, headers, missing, where, tuple(twice))
