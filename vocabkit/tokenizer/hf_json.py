"""Read, grow, run and write `tokenizer.json` as plain data."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as HfTokenizer

from vocabkit.errors import TokenizerError


def read(path: Path) -> dict[str, Any]:
    """Parse a `tokenizer.json` and check that the tokenizers library accepts it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TokenizerError(f"{path} is not valid JSON ({error}); fetch it again") from error
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise TokenizerError(f"{path} is not a tokenizer.json: it has no model; name a tokenizer folder or file")
    build(data, path)
    return data


def build(data: dict[str, Any], source: Path) -> HfTokenizer:
    """Return the tokenizers library's tokenizer for `data`, without truncation or padding."""
    try:
        tokenizer = HfTokenizer.from_str(json.dumps(data, ensure_ascii=False))
    # A damaged file can make the Rust library panic, and PanicException is no Exception.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TokenizerError(f"the tokenizers library refuses {source}: {reason}; fetch the file again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode(tokenizer: HfTokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of each text without special tokens around it."""
    return [e.ids for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def vocabulary(data: dict[str, Any]) -> dict[str, int]:
    """Return token -> id of the model proper, added tokens not included."""
    vocab = data["model"]["vocab"]
    return vocab if isinstance(vocab, dict) else {piece: i for i, (piece, _) in enumerate(vocab)}


def added_tokens(data: dict[str, Any]) -> dict[str, int]:
    """Return content -> id of the added tokens."""
    return {token["content"]: token["id"] for token in data.get("added_tokens") or []}


def uses_byte_level(data: dict[str, Any]) -> bool:
    """Return whether the pre-tokenizer spells text in the byte-level alphabet."""
    node = data.get("pre_tokenizer") or {}
    return any(step.get("type") == "ByteLevel" for step in [node, *node.get("pretokenizers", [])])


def size(data: dict[str, Any]) -> int:
    """Return one more than the highest id in use."""
    ids = [*vocabulary(data).values(), *added_tokens(data).values()]
    return max(ids, default=-1) + 1


def added_token(token_id: int, content: str, *, special: bool) -> dict[str, Any]:
    """Return an entry of `added_tokens`."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, **flags, "special": special}


def bos_template(bos: str, bos_id: int) -> dict[str, Any]:
    """Return the post-processor that puts `bos` before a text."""

    def sequence(name: str, type_id: int) -> list[dict[str, Any]]:
        token = {"SpecialToken": {"id": bos, "type_id": type_id}}
        return [token, {"Sequence": {"id": name, "type_id": type_id}}]

    return {
        "type": "TemplateProcessing",
        "single": sequence("A", 0),
        "pair": sequence("A", 0) + sequence("B", 1),
        "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
    }


def with_tokens(data: dict[str, Any], spellings: Sequence[str], *, first_id: int, join_old: bool) -> dict[str, Any]:
    """Return a copy of a BPE tokenizer.json with `spellings` appended, each with every merge that makes it.

    join_old: also merge a new token with a neighbour when together they spell an old token, as SentencePiece does.
    Added tokens are folded into the vocabulary at the ids they have: tokenizers renumbers them otherwise.
    """
    model = dict(data["model"])
    vocab = dict(model["vocab"])
    for content, token_id in added_tokens(data).items():
        vocab.setdefault(content, token_id)
    old = frozenset(model["vocab"])
    for offset, spelling in enumerate(spellings):
        vocab[spelling] = first_id + offset
    merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
    longer = _longer_tokens(old, spellings) if join_old else {}
    listed = {tuple(pair) for pair in merges} if longer else set()
    specials = added_tokens(data)
    for spelling in spellings:
        splits = [(spelling[:i], spelling[i:]) for i in range(1, len(spelling))]
        merges += [[a, b] for a, b in splits if a in vocab and b in vocab and a not in specials and b not in specials]
        for left, right in longer.get(spelling, ()):
            if left in vocab and right in vocab and (left, right) not in listed:
                merges.append([left, right])
                listed.add((left, right))
    model["vocab"] = dict(sorted(vocab.items(), key=lambda item: item[1]))
    model["merges"] = merges
    grown = copy.copy(data)
    grown["model"] = model
    return grown


def with_special_tokens(data: dict[str, Any], names: Sequence[str], *, first_id: int) -> dict[str, Any]:
    """Return a copy with `names` appended as special added tokens, each in the vocabulary too."""
    known = added_tokens(data) | vocabulary(data)
    taken = [name for name in names if name in known]
    if taken:
        raise TokenizerError(f"{taken[0]!r} is a token of the base already; leave out --add-special {taken[0]!r}")
    entries = [added_token(first_id + offset, name, special=True) for offset, name in enumerate(names)]
    model = dict(data["model"])
    if isinstance(model["vocab"], dict):
        # Every added token in the vocabulary at its id: tokenizers renumbers the others.
        ids = added_tokens(data) | {entry["content"]: entry["id"] for entry in entries}
        merged = ids | model["vocab"]
        model["vocab"] = dict(sorted(merged.items(), key=lambda item: item[1]))
    else:
        model["vocab"] = [*model["vocab"], *([name, 0.0] for name in names)]
    return {**data, "added_tokens": [*(data.get("added_tokens") or []), *entries], "model": model}


def _longer_tokens(old: frozenset[str], spellings: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return, for each new token, the ways in which it is one half of an old token."""
    new = set(spellings)
    ways: dict[str, list[tuple[str, str]]] = {}
    for token in sorted(old):
        for i in range(1, len(token)):
            pair = (token[:i], token[i:])
            for half in pair:
                if half in new:
                    ways.setdefault(half, []).append(pair)
    return ways


def without_prefix_space(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` with every `add_prefix_space` of its pre-tokenizer off, so that spans stay as they are."""

    def off(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: False if key == "add_prefix_space" else off(value) for key, value in node.items()}
        return [off(item) for item in node] if isinstance(node, list) else node

    return {**data, "pre_tokenizer": off(data.get("pre_tokenizer")), "post_processor": None}


def write(data: dict[str, Any], path: Path) -> None:
    """Write a tokenizer.json: readable on top, the vocabulary and the merges one entry per line."""
    path.write_text(dump(data), encoding="utf-8")


def dump(data: dict[str, Any]) -> str:
    """Return `data` as JSON text, one vocabulary entry or merge per line."""
    model = data["model"]
    rest = {key: value for key, value in data.items() if key != "model"}
    head = json.dumps({**rest, "model": None}, ensure_ascii=False, indent=2)
    fields = []
    for key, value in model.items():
        if key in ("vocab", "merges") and value:
            fields.append(f"    {json.dumps(key)}: {_lines(value)}")
        else:
            fields.append(f"    {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    body = "{\n" + ",\n".join(fields) + "\n  }"
    return head.removesuffix("null\n}") + body + "\n}\n"


def _lines(value: Any) -> str:
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, dict):
        rows = [f"      {encoder.encode(key)}: {number}" for key, number in value.items()]
        return "{\n" + ",\n".join(rows) + "\n    }"
    return "[\n" + ",\n".join(f"      {encoder.encode(row)}" for row in value) + "\n    ]"
