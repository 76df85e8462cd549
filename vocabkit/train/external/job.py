"""What every trainer is told of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.corpus import open_corpus
from vocabkit.corpus.sources import format_of
from vocabkit.errors import CheckpointError, UnknownNameError, VocabkitError
from vocabkit.model.chat import AUTO, CHAT, TEMPLATES
from vocabkit.plugins import load_plugins
from vocabkit.rows.checkpoint import CONFIG, holds_model, open_checkpoint, read_json, vocab_sizes
from vocabkit.tokenizer.folder import Sidecars
from vocabkit.train.settings import Settings

# Readers of Hugging Face's datasets, by our names of formats.
KINDS = {"json lines": "json", "parquet": "parquet"}
MATRICES = ("model.embed_tokens.weight", "lm_head.weight")
INSTRUCTION = frozenset(("instruction", "input", "output"))


@dataclass(frozen=True)
class Text:
    """Files of one format.  kind: "text", "json" or "parquet"."""

    name: str
    files: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Job:
    """What every trainer is told.

    record: fields of the instructions, empty for text.  template: of instructions.  dtype: never "auto".
    matrices: tensors of the vocabulary that train.  new: the rows of them that train, None for all.
    experts: whether the model is a mixture.
    """

    model: str
    output: str
    settings: Settings
    texts: tuple[Text, ...]
    record: frozenset[str]
    template: str
    dtype: str
    matrices: tuple[str, ...]
    tied: bool
    new: range | None
    experts: bool

    @property
    def modules(self) -> list[str]:
        """The modules of the matrices, by the last part of their name."""
        return [name.split(".")[-2] for name in self.matrices]

    @property
    def has_two_rates(self) -> bool:
        """Whether rows and adapters both train, each at a rate of its own."""
        rates = self.settings.learning_rate, self.settings.rows_learning_rate
        return bool(self.matrices and self.settings.targets) and rates[0] != rates[1]

    @property
    def is_quantized(self) -> bool:
        """Whether frozen layers are in 4 bits, which trainers allow beside adapters only."""
        return self.settings.quantize == "nf4" and bool(self.settings.targets)

    @property
    def targets(self) -> list[str] | None:
        """Layers with adapters, None for all that are linear."""
        return None if "all-linear" in self.settings.targets else list(self.settings.targets)


def job_for(model: Path, settings: Settings, data: Mapping[str, Sequence[str]], output: Path | None) -> Job:
    config = read_json(model / CONFIG)
    matrices, tied = _matrices(model, config, settings)
    own = next((config[name] for name in ("dtype", "torch_dtype") if config.get(name)), "float32")
    return Job(
        str(model),
        str(output or f"{model.resolve().name}-{settings.stage}"),
        settings,
        tuple(_texts(data)),
        _record(data) if settings.stage == "instruct" else frozenset(),
        _template(model, settings.template) if settings.stage == "instruct" else "",
        settings.dtype if settings.dtype != "auto" else {"float16": "bfloat16"}.get(own, own),
        matrices,
        tied,
        _new_rows(model, config) if settings.rows == "new" else None,
        bool(config.get("num_local_experts")),
    )


def _matrices(model: Path, config: dict[str, Any], settings: Settings) -> tuple[tuple[str, ...], bool]:
    """Return the tensors of the vocabulary that train, the tied one once, and whether the model is tied."""
    rows, head, tied = *MATRICES, bool(config.get("tie_word_embeddings"))
    if holds_model(model):
        found = open_checkpoint(model)
        rows, head, tied = found.input.name, found.head.name if found.head else head, found.tied
    if settings.rows == "none":
        return (), tied
    if tied and settings.matrices != "both":
        raise CheckpointError(
            f"the model is tied, its input and its head are one matrix; --matrices {settings.matrices} cannot be"
        )
    chosen = {"input": (rows,), "head": (head,), "both": (rows,) if tied else (rows, head)}
    return chosen[settings.matrices], tied


def _new_rows(model: Path, config: dict[str, Any]) -> range:
    # It needs torch.
    from vocabkit.train.trainee import first_row

    size = next((part["vocab_size"] for part in vocab_sizes(config)), 0)
    new = range(first_row(model, "new"), size)
    if not new:
        raise CheckpointError(
            f"{model}: its manifest says that new rows begin at {new.start:,}, and {CONFIG} has {size:,} rows; "
            f"extend the model again"
        )
    return new


def _texts(data: Mapping[str, Sequence[str]]) -> Iterable[Text]:
    for name, specs in data.items():
        kinds: dict[str, list[str]] = {}
        for file in (file for spec in specs for file in _files(spec)):
            kinds.setdefault(KINDS.get(format_of(Path(file)), "text"), []).append(file)
        for kind, files in kinds.items():
            yield Text(name if len(kinds) == 1 else f"{name}-{kind}", tuple(files), kind)


def _files(spec: str) -> list[str]:
    """Return the files that `spec` names here, or itself where there are none."""
    try:
        return open_corpus([spec], registry=load_plugins()).names
    except VocabkitError:
        return [spec]


def _record(data: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return the fields of the first record, those of an instruction where it cannot be read."""
    specs = [spec for found in data.values() for spec in found]
    try:
        first = next((record for _, _, record in open_corpus(specs, registry=load_plugins()).records()), {})
    except VocabkitError:
        return INSTRUCTION
    return frozenset(first) if {"instruction", "messages", "conversations"} & set(first) else INSTRUCTION


def _template(model: Path, name: str) -> str:
    """Return the name of the template, as `chat.template_for` does of a tokenizer."""
    if name == AUTO:
        return "alpaca" if Sidecars.read(model).chat_template is None else CHAT
    if name not in (*TEMPLATES, CHAT):
        raise UnknownNameError("template", name, (*TEMPLATES, CHAT, AUTO))
    return name
