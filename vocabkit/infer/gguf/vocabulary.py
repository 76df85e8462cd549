"""A tokenizer as GGUF keeps it: one text, one kind and, for SentencePiece, one score for every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vocabkit.errors import TokenizerError
from vocabkit.tokenizer import hf_json
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.model_proto import BYTE, CONTROL, NORMAL, SPACE, UNUSED, USER_DEFINED
from vocabkit.tokenizer.pre_tokenizers import PreTokenizer, named, pre_tokenizer_of
from vocabkit.tokenizer.widen import is_widened

# GGUF numbers the kinds of tokens as SentencePiece does.  Tokens that are never merged score below all that are.
ASIDE = -1e9
PREFIX = "tokenizer.ggml."
SPECIAL_NAMES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
# Bytes that no UTF-8 text holds.
NEVER_IN_TEXT = (0xC0, 0xC1, *range(0xF5, 0x100))
FAMILIES = ("sentencepiece_bpe", "byte_level_bpe")


@dataclass(frozen=True)
class Vocabulary:
    """What goes into `tokenizer.*`.

    texts, kinds: [rows].  scores: [rows], for SentencePiece alone.  merges: "left right", for byte-level BPE alone.
    values: keys of one value, below "tokenizer.ggml.".  suppressed: ids that must not be generated.
    differences: what llama.cpp does otherwise than tokenizers.
    """

    texts: list[str]
    kinds: list[int]
    scores: list[float] | None
    merges: list[str] | None
    values: dict[str, bool | int | str]
    suppressed: list[int]
    chat_template: Any = None
    differences: list[str] = field(default_factory=list)


def vocabulary_of(
    tokenizer: Tokenizer,
    rows: int,
    settings: Mapping[str, Any],
    *,
    manifest: Mapping[str, Any] | None = None,
    pre: str | None = None,
) -> Vocabulary:
    """Return the vocabulary of a model with `rows` rows per matrix.

    settings: config.json, with generation_config.json over it; says which ids begin and end a text.
    manifest: vocabkit.json of an extended model.  pre: llama.cpp's name of the pre-tokenizer, when the user knows it.
    Raises TokenizerError for what llama.cpp cannot run.
    """
    if tokenizer.family not in FAMILIES:
        raise TokenizerError(f"{tokenizer.source} is of the family {tokenizer.family}; GGUF is written of BPE alone")
    if tokenizer.size > rows:
        raise TokenizerError(f"{tokenizer.source} has {tokenizer.size:,} tokens for {rows:,} rows; resize the model")
    if is_widened(tokenizer.json):
        raise TokenizerError(
            f"the pre-tokenizer of {tokenizer.source} was extended, and llama.cpp has only its own; extend with "
            f"--pretokenizer keep to export GGUF"
        )
    values, differences = _special_values(tokenizer, settings)
    if tokenizer.family == "byte_level_bpe":
        texts, kinds, scores, more = *_byte_level(tokenizer), None, _byte_level_values(tokenizer, pre, differences)
        merges: list[str] | None = _merges(tokenizer.json)
    else:
        texts, kinds, scores, merges = *_pieces(tokenizer), None
        _check_scores(tokenizer, kinds, scores, manifest)
        more = _sentencepiece_values(tokenizer, differences)
    _set_added_tokens(tokenizer, texts, kinds, scores, differences)
    padding = range(tokenizer.size, rows)
    texts += [f"[PAD{i}]" for i in padding]
    kinds += [UNUSED] * len(padding)
    if scores is not None:
        scores += [ASIDE] * len(padding)
    _check_distinct(tokenizer, texts)
    suppressed = sorted({*padding, *(i for i in settings.get("suppress_tokens") or () if i < rows)})
    template = tokenizer.sidecars.chat_template
    return Vocabulary(texts, kinds, scores, merges, values | more, suppressed, template, differences)


def _byte_level(tokenizer: Tokenizer) -> tuple[list[str], list[int]]:
    """Return texts in the byte alphabet, and kinds; ids without a token, and tokens no text gives, are unused."""
    texts = [f"[UNUSED{i}]" for i in range(tokenizer.size)]
    kinds = [UNUSED] * tokenizer.size
    for text, token_id in hf_json.vocabulary(tokenizer.json).items():
        texts[token_id] = text
        kinds[token_id] = UNUSED if tokenizer.token_bytes(token_id) is None else NORMAL
    return texts, kinds


def _pieces(tokenizer: Any) -> tuple[list[str], list[int], list[float]]:
    pieces = tokenizer.proto.pieces
    texts, kinds = [piece.piece for piece in pieces], [piece.type for piece in pieces]
    scores = [piece.score for piece in pieces]
    for i in range(len(pieces), tokenizer.size):
        texts.append(f"[UNUSED{i}]")
        kinds.append(UNUSED)
        scores.append(ASIDE)
    return texts, kinds, scores


def _set_added_tokens(
    tokenizer: Tokenizer, texts: list[str], kinds: list[int], scores: list[float] | None, differences: list[str]
) -> None:
    """Put the added tokens of a tokenizer.json over what is there: they are found in the text before all else."""
    byte_like = [i for i, kind in enumerate(kinds) if kind == BYTE]
    for token in tokenizer.json.get("added_tokens") or []:
        token_id, content = token["id"], token["content"]
        if token_id in byte_like:
            continue
        special = token.get("special") or kinds[token_id] == CONTROL
        # llama.cpp looks for them before it writes spaces as SentencePiece does.
        texts[token_id] = content if special or scores is None else content.replace(SPACE, " ")
        if kinds[token_id] in (NORMAL, UNUSED, USER_DEFINED):
            kinds[token_id] = CONTROL if special else USER_DEFINED
        if scores is not None and kinds[token_id] == USER_DEFINED:
            scores[token_id] = ASIDE
        for flag in ("lstrip", "rstrip", "single_word"):
            if token.get(flag):
                differences.append(f"llama.cpp does not know {flag} of the token {content!r}")


def _merges(data: Mapping[str, Any]) -> list[str]:
    """Return "left right" per merge; no token of the byte alphabet holds a space."""
    return [pair if isinstance(pair, str) else " ".join(pair) for pair in data["model"]["merges"]]


def _byte_level_values(tokenizer: Tokenizer, pre: str | None, differences: list[str]) -> dict[str, bool | int | str]:
    data = tokenizer.json
    model = data["model"]
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise TokenizerError(f"{tokenizer.source} has {name} {model[name]!r}, which llama.cpp does not know")
    normalizers = _normalizers(data)
    if normalizers - {"NFC"}:
        raise TokenizerError(
            f"{tokenizer.source} changes text by {', '.join(sorted(normalizers))}, which llama.cpp does not do"
        )
    if normalizers:
        differences.append("llama.cpp does not compose characters (NFC): text that is not composed gets other tokens")
    missing = [byte for byte in range(256) if byte not in NEVER_IN_TEXT and tokenizer.find(bytes([byte])) is None]
    if missing:
        shown = ", ".join(f"0x{byte:02X}" for byte in missing)
        differences.append(f"no token stands for the bytes {shown}: tokenizers merges across one that it drops")
    entry = named(pre) if pre else pre_tokenizer_of(data)
    _check_whole_words(tokenizer, entry)
    if entry.differs:
        differences.append(entry.differs)
    return {"model": "gpt2", "pre": entry.name}


def _normalizers(data: Mapping[str, Any]) -> set[str]:
    node = data.get("normalizer") or {}
    steps = node.get("normalizers", []) if node.get("type") == "Sequence" else [node] if node else []
    return {str(step.get("type")) for step in steps}


def _check_whole_words(tokenizer: Tokenizer, entry: PreTokenizer) -> None:
    """Raise TokenizerError when words that are tokens get other ids because one engine merges and the other does not.

    `ignore_merges` of a tokenizer.json takes a word that is a token as it is; llama.cpp decides that by the name of
    the pre-tokenizer.  Where the merges of every such token lead to it, both are the same.
    """
    data = tokenizer.json
    if not entry.steps or bool(data["model"].get("ignore_merges")) == entry.takes_whole:
        return
    model = {**data["model"], "ignore_merges": False}
    merging = hf_json.build({**data, "normalizer": None, "model": model}, tokenizer.source)
    texts: dict[str, int] = {}
    for token_id in range(tokenizer.size):
        try:
            texts[(tokenizer.token_bytes(token_id) or b"\xff").decode()] = token_id
        except UnicodeDecodeError:
            continue  # Words are whole characters.
    for text, encoding in zip(texts, merging.encode_batch(list(texts), add_special_tokens=False), strict=True):
        if encoding.ids != [texts[text]] and len(set(encoding.word_ids)) == 1:
            raise TokenizerError(
                f"the token {text!r} of {tokenizer.source} is not reached by its merges, and llama.cpp's "
                f"{entry.name} {'takes it whole' if entry.takes_whole else 'always merges'}; it cannot be run"
            )


def _sentencepiece_values(tokenizer: Any, differences: list[str]) -> dict[str, bool | int | str]:
    spec = tokenizer.proto.normalizer_spec
    if spec.precompiled_charsmap:
        differences.append(f"llama.cpp does not change characters as {spec.name or 'the normaliser'} does")
    if spec.remove_extra_whitespaces:
        differences.append("llama.cpp does not remove white space at the ends, or more than one space")
    if '"prepend_scheme": "first"' in str(tokenizer.json.get("pre_tokenizer")).replace("'", '"'):
        differences.append("llama.cpp also puts a space before text that follows a special token")
    return {"model": "llama", "pre": "default", "add_space_prefix": bool(spec.add_dummy_prefix)}


def _check_scores(
    tokenizer: Tokenizer, kinds: Sequence[int], scores: Sequence[float], manifest: Mapping[str, Any] | None
) -> None:
    """Raise TokenizerError when new pieces share a score in float32: which of them merges first would be chance."""
    first = ((manifest or {}).get("base") or {}).get("size", tokenizer.size)
    new = np.asarray([scores[i] for i in range(first, tokenizer.size) if kinds[i] == NORMAL], np.float32)
    if len(np.unique(new)) != len(new):
        raise TokenizerError(
            f"{tokenizer.source}: new pieces share scores, so engines merge them in different orders; extend anew"
        )


def _check_distinct(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    if len(set(texts)) != len(texts) or "" in texts:
        double = next(text for text, number in Counter(texts).items() if number > 1 or not text)
        raise TokenizerError(f"{tokenizer.source}: two ids would be written as {double!r}, which llama.cpp refuses")


def _special_values(
    tokenizer: Tokenizer, settings: Mapping[str, Any]
) -> tuple[dict[str, bool | int | str], list[str]]:
    """Return which ids begin, end and fill a text, and what is put around one."""
    ids = {name: _special_id(tokenizer, settings, key) for name, key in SPECIAL_NAMES.items()}
    plain, framed = (tokenizer.hf.encode("a", add_special_tokens=on).ids for on in (False, True))  # type: ignore[attr-defined]
    at = next((i for i in range(len(framed)) if framed[i : i + len(plain)] == plain), 0)
    before, after = framed[:at], framed[at + len(plain) :]
    if ids["eos"] is None:
        raise TokenizerError(
            f"nothing says which token ends a text of {tokenizer.source}; set eos_token in tokenizer_config.json"
        )
    differences = []
    if before not in ([], [ids["bos"]]) or after not in ([], [ids["eos"]]):
        differences.append(f"llama.cpp does not put the ids {before} before and {after} after a text")
    # Where there is no BOS, llama.cpp would take the token 11 (or 1) for it.
    values: dict[str, bool | int | str] = {"bos_token_id": ids["eos"]}
    values |= {f"{name}_token_id": token_id for name, token_id in ids.items() if token_id is not None}
    other = next((i for i in _ids(settings.get("eos_token_id")) if i != ids["eos"]), None)
    if other is not None:
        values["eot_token_id"] = other
    values["add_bos_token"] = before == [ids["bos"]] and ids["bos"] is not None
    values["add_eos_token"] = after == [ids["eos"]]
    return values, differences


def _special_id(tokenizer: Tokenizer, settings: Mapping[str, Any], key: str) -> int | None:
    """Return the id that tokenizer_config.json names, or config.json."""
    named_token = tokenizer.sidecars.config.get(key)
    content = named_token.get("content") if isinstance(named_token, dict) else named_token
    if isinstance(content, str) and content in tokenizer.id_table:
        return tokenizer.id_table[content]
    return next(iter(_ids(settings.get(f"{key}_id"))), None)


def _ids(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value or [])
