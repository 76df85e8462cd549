"""Read tiktoken rank files (Llama-3, Qwen) as a byte-level tokenizer.json."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any

from vocabkit.errors import TokenizerError
from vocabkit.tokenizer import hf_json
from vocabkit.tokenizer.byte_alphabet import spelling_of

# A rank file names neither its split pattern nor its special tokens.  Both are known for the models that ship
# one, and the number of ranks tells them apart.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_PATTERN = _PATTERN.replace("DIGITS", r"\p{N}{1,3}")
QWEN_PATTERN = _PATTERN.replace("DIGITS", r"\p{N}")
LLAMA3_SPECIALS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
KNOWN = {
    128_000: (
        LLAMA3_PATTERN,
        (*LLAMA3_SPECIALS, *(f"<|reserved_special_token_{i}|>" for i in range(2, 247))),
    ),
    151_643: (
        QWEN_PATTERN,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))),
    ),
}
_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n")


def looks_like(head: bytes) -> bool:
    """Return whether the first bytes of a file are lines of a base64 token and its rank."""
    return _LINE.match(head) is not None


def read(path: Path) -> dict[str, Any]:
    """Return the tokenizer.json that encodes as tiktoken does with the ranks in `path`.

    Raises TokenizerError for a damaged file, or one whose split pattern is not known.
    """
    ranks = _read_ranks(path)
    if len(ranks) not in KNOWN:
        raise TokenizerError(
            f"{path} holds {len(ranks):,} tiktoken ranks, and its split pattern is not known; "
            f"use the model's tokenizer.json instead"
        )
    pattern, specials = KNOWN[len(ranks)]
    merges: list[tuple[int, int, int, list[str]]] = []
    for token, rank in ranks.items():
        for i in range(1, len(token)):
            left, right = token[:i], token[i:]
            if left in ranks and right in ranks:
                merges.append((rank, ranks[left], ranks[right], [spelling_of(left), spelling_of(right)]))
    merges.sort(key=lambda merge: merge[:3])
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [hf_json.added_token(len(ranks) + i, name, special=True) for i, name in enumerate(specials)],
        "normalizer": {"type": "NFC"} if pattern == QWEN_PATTERN else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            # tiktoken looks a whole piece up before it merges.
            "ignore_merges": True,
            "vocab": {spelling_of(token): rank for token, rank in ranks.items()},
            "merges": [pair for *_, pair in merges],
        },
    }


def _read_ranks(path: Path) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise TokenizerError(
                f"{path}, line {number}: not a base64 token and a rank; fetch the file again"
            ) from error
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise TokenizerError(f"{path} has gaps or doubles in its ranks; fetch it again")
    return ranks
