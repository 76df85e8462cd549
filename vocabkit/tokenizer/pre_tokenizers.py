"""Which pre-tokenizer of a tokenizer.json llama.cpp knows, and by what name: data, not code.

llama.cpp has its pre-tokenizers built in; a file names one in `tokenizer.ggml.pre`.  A name here stands for the same
cuts as the steps beside it; llama.cpp knows more names for some of them.  A new pre-tokenizer is a new entry.
Source: src/llama-vocab.cpp of llama.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vocabkit.errors import TokenizerError
from vocabkit.tokenizer.tiktoken_file import LLAMA3_PATTERN, QWEN_PATTERN

# Steps as `steps_of` writes them: Split by its pattern, GPT-2's own pattern as ByteLevel knows it, each digit alone.
GPT2, DIGITS = "ByteLevel", "Digits"
_LETTERS = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_AFTER = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _cased(contraction: str, digits: str) -> str:
    """Return the pattern that also cuts where lower case turns to upper."""
    upper, lower = _LETTERS
    words = f"{_BEFORE}{upper}*{lower}+{contraction}|{_BEFORE}{upper}+{lower}*{contraction}"
    return f"{words}|{digits}|{_AFTER}"


@dataclass(frozen=True)
class PreTokenizer:
    """What llama.cpp calls `steps`.

    takes_whole: a word that is a token is taken without merging, as `ignore_merges` in a tokenizer.json says.
    differs: what llama.cpp cuts otherwise all the same.
    also: further names under which llama.cpp has the same cuts.
    """

    name: str
    steps: tuple[str, ...]
    takes_whole: bool = False
    differs: str = ""
    also: tuple[str, ...] = ()


CASE = "llama.cpp tells upper from lower case in ASCII alone, and cuts other cased scripts and marks otherwise"
PRE_TOKENIZERS = (
    PreTokenizer(
        "smollm",
        (DIGITS, GPT2),
        also=("starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
    ),
    PreTokenizer(
        "gpt-2",
        (GPT2,),
        also=(
            *(
                "phi-2",
                "olmo",
                "mpt",
                "jais",
                "trillion",
                "granite-docling",
                "exaone4",
                "gigachat",
                "mellum",
                "a.x-4.0",
            ),
            *("modern-bert", "roberta-bpe", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de"),
            "jina-v2-code",
        ),
    ),
    PreTokenizer(
        "llama-bpe",
        (LLAMA3_PATTERN,),
        takes_whole=True,
        also=("llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
    ),
    PreTokenizer("smaug-bpe", (LLAMA3_PATTERN,), also=("dbrx", "glm4", "chatglm-bpe")),
    PreTokenizer(
        "qwen2",
        (QWEN_PATTERN,),
        also=("deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"),
    ),
    PreTokenizer(
        "qwen35",
        (
            rf"{_CONTRACTION}|{_BEFORE}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
    ),
    PreTokenizer("tekken", (_cased("", r"\p{N}"),), takes_whole=True, differs=CASE),  # Mistral Nemo
    PreTokenizer(
        "gpt-4o",
        (_cased(f"{_CONTRACTION}?", r"\p{N}{1,3}"),),
        differs=CASE,
        also=("llama4", "kanana2", "talkie", "minimax-m2"),
    ),
    PreTokenizer(
        "deepseek-v3",
        (
            r"\p{N}{1,3}",
            "[一-龥\u3040-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
            r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
        ),
    ),
)


def pre_tokenizer_of(data: Mapping[str, Any]) -> PreTokenizer:
    """Return what llama.cpp calls the pre-tokenizer of a tokenizer.json; of two, the one with its `ignore_merges`.

    Raises TokenizerError when it knows none that cuts so.
    """
    steps = steps_of(data.get("pre_tokenizer"))
    found = [entry for entry in PRE_TOKENIZERS if entry.steps == steps]
    takes_whole = bool(data["model"].get("ignore_merges"))
    found.sort(key=lambda entry: entry.takes_whole != takes_whole)
    if not found:
        shown = json.dumps(data.get("pre_tokenizer"), ensure_ascii=False)
        raise TokenizerError(
            f"no pre-tokenizer of llama.cpp is known to cut as {shown[:200]} does; name one with --pre NAME, and "
            f"install llama-cpp-python to have it compared"
        )
    return found[0]


def named(name: str) -> PreTokenizer:
    """Return the pre-tokenizer that a user named; one that is not in the table may be right all the same."""
    known = next((entry for entry in PRE_TOKENIZERS if name in (entry.name, *entry.also)), PreTokenizer(name, ()))
    return replace(known, name=name)


def steps_of(node: Any) -> tuple[str, ...] | None:
    """Return what cuts a text, in order; None when a step is of a kind that llama.cpp has not."""
    if not isinstance(node, dict):
        return None
    kind = node.get("type")
    if kind == "Sequence":
        parts = [steps_of(part) for part in node.get("pretokenizers", [])]
        known = [part for part in parts if part is not None]
        return tuple(step for part in known for step in part) if len(known) == len(parts) else None
    if kind == "ByteLevel" and not node.get("add_prefix_space"):
        return (GPT2,) if node.get("use_regex", True) else ()
    if kind == "Digits" and node.get("individual_digits"):
        return (DIGITS,)
    # Cutting between matches, and keeping the matches alone, are the same where a pattern matches everything.
    manner = node.get("behavior"), bool(node.get("invert"))
    if kind == "Split" and manner in (("Isolated", False), ("Removed", True)):
        pattern = node["pattern"].get("Regex")
        # A line end may stand in a pattern as itself or as its escape.
        return (pattern.replace("\r", r"\r").replace("\n", r"\n"),) if pattern else None
    return None
