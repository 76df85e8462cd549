"""Failures of GGUF files: another pre-tokenizer than the tokenizer's, or another vocabulary."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vocabkit.diagnose.case import Case
from vocabkit.diagnose.finding import Finding
from vocabkit.errors import TokenizerError
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.pre_tokenizers import PRE_TOKENIZERS, pre_tokenizer_of

PREFIX = "tokenizer.ggml."
# What llama.cpp takes when the file does not say; it cuts as no tokenizer does.
UNKNOWN_PRE = ("", "default")
ROWS = "token_embd.weight"


def pre_tokenizer(case: Case) -> Finding | None:
    """`tokenizer.ggml.pre` names other cuts than the pre-tokenizer of tokenizer.json makes."""
    wrong, items = [], []
    for path in case.patient.ggufs:
        read = _read(case, path)
        tokenizer = _tokenizer(case)
        if read is None or tokenizer is None or read.get("model") != "gpt2" or tokenizer.family != "byte_level_bpe":
            continue
        recorded = str(read.get("pre", ""))
        try:
            right = pre_tokenizer_of(tokenizer.json)
        except TokenizerError as error:
            if recorded in UNKNOWN_PRE:
                wrong.append(f"{path.name} names no pre-tokenizer")
            else:
                case.patient.unchecked.append(f"the pre-tokenizer {recorded!r} of {path.name}: {error}")
            continue
        entry = next((one for one in PRE_TOKENIZERS if recorded in (one.name, *one.also)), None)
        if entry is None and recorded not in UNKNOWN_PRE:
            case.patient.unchecked.append(f"the pre-tokenizer {recorded!r} of {path.name}: vocabkit does not know it")
        elif entry is None or entry.steps != right.steps:
            wrong.append(f"{path.name} says {PREFIX}pre {recorded!r}, and tokenizer.json cuts as {right.name!r}")
            items.append(f"{path.name}: {right.name}, also called {', '.join(right.also) or 'nothing else'}")
    if not wrong:
        return None
    return Finding(
        "pre-tokenizer name",
        "; ".join(wrong),
        "llama.cpp cuts text in other places than the model learned to read: numbers and scripts first of all",
        "write the file anew with `vocabkit export gguf`, which finds the name and compares with llama.cpp",
        tuple(items),
        unsafe="GGUF files are made anew, not edited",
    )


def gguf_vocabulary(case: Case) -> Finding | None:
    """A GGUF file has another number of tokens than rows, or fewer than the tokenizer."""
    wrong = []
    for path in case.patient.ggufs:
        read = _read(case, path)
        if read is None:
            continue
        tokens, rows = len(read.get("tokens", ())), read["rows"]
        if rows is not None and tokens != rows:
            wrong.append(f"{path.name} has {tokens:,} tokens and {rows:,} rows")
        tokenizer = case.patient.tokenizer
        if tokenizer is not None and tokens < tokenizer.size:
            wrong.append(f"{path.name} has {tokens:,} tokens, and the tokenizer {tokenizer.size:,}")
    if not wrong:
        return None
    return Finding(
        "GGUF vocabulary",
        "; ".join(wrong),
        "it was made with another tokenizer, often the base's: llama.cpp refuses it, or never makes the new tokens",
        "write the file anew with `vocabkit export gguf`",
        unsafe="GGUF files are made anew, not edited",
    )


def _tokenizer(case: Case) -> Tokenizer | None:
    """Return the tokenizer that a GGUF file is compared with: the one beside it, or the base's."""
    return case.patient.tokenizer or (case.base.tokenizer if case.base else None)


def _read(case: Case, path: Path) -> dict[str, Any] | None:
    """Return what a GGUF file says about its tokens; None when it cannot be read here."""
    if path not in case.read_ggufs:
        case.read_ggufs[path] = _parsed(case, path)
    return case.read_ggufs[path]


def _parsed(case: Case, path: Path) -> dict[str, Any] | None:
    if find_spec("gguf") is None:
        case.patient.unchecked.append(f"{path.name}: run `pip install 'vocabkit[gguf]'`")
        return None
    import gguf

    # Of a damaged file the reader says so in many ways.
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, KeyError, IndexError, OSError) as error:
        case.patient.broken.append(f"{path.name} is no sound GGUF file ({str(error)[:100]}); fetch it again")
        return None
    names = ("model", "pre", "tokens")
    fields = {name: field for name in names if (field := reader.get_field(PREFIX + name)) is not None}
    rows = next((int(tensor.shape[-1]) for tensor in reader.tensors if tensor.name == ROWS), None)
    # Only the number of tokens matters; their texts would take seconds.
    said: dict[str, Any] = {name: field.contents() for name, field in fields.items() if name != "tokens"}
    return {**said, "tokens": range(len(fields["tokens"].data) if "tokens" in fields else 0), "rows": rows}
