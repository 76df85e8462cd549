"""Is a model folder ready for vLLM?  What can be told without vLLM, and without running the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vocabkit.errors import VocabkitError
from vocabkit.model.load import can_run_models
from vocabkit.rows.checkpoint import Checkpoint, open_checkpoint, read_json
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer

# vLLM pads its rows to as many; a model that is padded needs no copy of them, and divides over devices.
ROW_MULTIPLE = 64
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
GENERATION_CONFIG = "generation_config.json"
TEXT = "The committee met on 3 May. 委员会于五月三日开会。 <|x|>\n\tEnd"


@dataclass(frozen=True)
class Finding:
    """One question and its answer; `ok` is None where it could not be checked here."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class Model:
    """A folder, opened."""

    folder: Path
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    generation: dict[str, Any]


def check_ready(folder: Path) -> list[Finding]:
    """Return what vLLM will ask of the model in `folder`; without sound shards and tokenizer only that is said."""
    found = []
    try:
        checkpoint = open_checkpoint(folder)
    except VocabkitError as error:
        return [Finding("shards", False, str(error))]
    count = len(checkpoint.shards)
    found.append(Finding("shards", True, f"{count} of {count} there, as long as their headers say"))
    try:
        tokenizer = open_tokenizer(folder)
    except VocabkitError as error:
        return [*found, Finding("tokenizer", False, str(error))]
    path = folder / GENERATION_CONFIG
    model = Model(folder, checkpoint, tokenizer, read_json(path) if path.is_file() else {})
    return found + [Finding(name, *question(model)) for name, question in QUESTIONS.items()]


def _rows(model: Model) -> tuple[bool, str]:
    rows, size = model.checkpoint.rows, model.tokenizer.size
    if size > rows:
        return False, f"the tokenizer has {size:,} tokens for {rows:,} rows; resize the model to its tokenizer"
    if rows % ROW_MULTIPLE:
        return False, f"{rows:,} rows are no multiple of {ROW_MULTIPLE}; `vocabkit extend` pads them"
    return True, f"{rows:,} rows, a multiple of {ROW_MULTIPLE}, for {size:,} tokens"


def _phantoms(model: Model) -> tuple[bool, str]:
    """A row of zeros gives the logit 0, often above those of real tokens; vLLM samples from every row."""
    head = model.checkpoint.head or model.checkpoint.input
    ids = sorted(set(range(model.checkpoint.rows)) - set(model.tokenizer.id_table.values()))
    if not ids:
        return True, "every row has a token"
    norms = np.linalg.norm(np.asarray(head.values[ids], np.float32), axis=1)
    zeros = [i for i, norm in zip(ids, norms, strict=True) if norm == 0]
    if zeros:
        return False, (
            f"{len(zeros):,} of {len(ids):,} rows without a token are zero in {head.name}, the first of id "
            f"{zeros[0]}; `vocabkit extend` makes rows that are never chosen"
        )
    return True, f"{len(ids):,} rows without a token, none zero; `vocabkit verify` measures their probability"


def _class_names(model: Model) -> tuple[bool | None, str]:
    names = model.checkpoint.config.get("architectures") or []
    if not names:
        return False, "config.json names no class in `architectures`; copy it from the base's config.json"
    if model.checkpoint.config.get("auto_map"):
        return (
            False,
            f"{names[0]} is code of its own (auto_map); vLLM must know it, or needs --trust-remote-code",
        )
    if not can_run_models():
        return None, f"{names[0]}; not compared with the classes of transformers, which is not installed"
    from transformers.models.auto import modeling_auto as auto

    known = {
        *auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(),
        *auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values(),
    }
    if names[0] not in known:
        return False, f"{names[0]} is no causal language model that transformers knows; correct `architectures`"
    return True, str(names[0])


def _tokenizer_class(model: Model) -> tuple[bool | None, str]:
    named = model.tokenizer.sidecars.config.get("tokenizer_class")
    if not (model.folder / "tokenizer.json").is_file():
        return False, "there is no tokenizer.json; write one with `vocabkit extend`"
    if not can_run_models():
        return None, f"{named}; not loaded, because transformers is not installed"
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(model.folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return False, f"transformers cannot load the class {named}: {reason}; set PreTrainedTokenizerFast"
    (expected,) = model.tokenizer.encode([TEXT])
    if loaded(TEXT, add_special_tokens=False)["input_ids"] != expected:
        return False, f"{named} gives other ids than tokenizer.json; set PreTrainedTokenizerFast"
    return True, f"{named} loads, and gives the ids of tokenizer.json"


def _suppressed(model: Model) -> tuple[bool, str]:
    padding = set(range(model.tokenizer.size, model.checkpoint.rows))
    missing = padding - set(model.generation.get("suppress_tokens") or [])
    if missing:
        return False, f"{GENERATION_CONFIG} does not suppress {len(missing):,} rows without a token; extend anew"
    if not padding:
        return True, "there is no padding"
    return (
        True,
        f"{len(padding):,} ids for transformers; vLLM does not read suppress_tokens, so their rows must be sound",
    )


def _ends(model: Model) -> tuple[bool, str]:
    said = model.generation.get("eos_token_id", model.checkpoint.config.get("eos_token_id"))
    ids = [said] if isinstance(said, int) else list(said or [])
    known = set(model.tokenizer.id_table.values())
    if not ids:
        return False, "nothing says which token ends a text; set eos_token_id in generation_config.json"
    wrong = [i for i in ids if i not in known]
    if wrong:
        return False, f"eos_token_id {wrong[0]} is no token; correct generation_config.json"
    return True, f"a text ends with {', '.join(map(str, ids))}"


def _dtype(model: Model) -> tuple[bool, str]:
    config = model.checkpoint.config
    said = config.get("dtype") or config.get("torch_dtype") or (config.get("text_config") or {}).get("dtype")
    stored = DTYPES.get(model.checkpoint.input.tensor.dtype)
    if said not in DTYPES.values():
        return False, f"config.json says dtype {said!r}; set it to {stored or 'bfloat16'}"
    if said != stored:
        return (
            False,
            f"config.json says {said}, and the rows are stored as {stored}; vLLM converts them; correct dtype",
        )
    return True, str(said)


QUESTIONS: dict[str, Callable[[Model], tuple[bool | None, str]]] = {
    "rows": _rows,
    "phantom ids": _phantoms,
    "class": _class_names,
    "tokenizer": _tokenizer_class,
    "padding": _suppressed,
    "end of text": _ends,
    "dtype": _dtype,
}
