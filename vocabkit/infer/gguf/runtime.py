"""What llama.cpp makes of a GGUF file: the same ids for the same text, as tokenizers gives?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from unicodedata import normalize

from vocabkit.errors import CheckpointError
from vocabkit.tokenizer import hf_json
from vocabkit.tokenizer.base import Tokenizer

# In a process of its own: llama.cpp ends the one it is in when it does not like a file.
# The last two arguments of llama_tokenize: no BOS or EOS, and special tokens in the text are found.
_SCRIPT = """
import json, sys, llama_cpp
path, texts = json.load(sys.stdin)
parameters = llama_cpp.llama_model_default_params()
parameters.vocab_only = True
model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
if not model:
    sys.exit(1)
vocabulary = llama_cpp.llama_model_get_vocab(model)
found = []
for text in texts:
    data = text.encode()
    ids = (llama_cpp.llama_token * (len(data) + 8))()
    count = llama_cpp.llama_tokenize(vocabulary, data, len(data), ids, len(ids), False, True)
    found.append(list(ids[:count]))
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True)
class Comparison:
    """How many texts llama.cpp and tokenizers give the same ids.

    not_composed: how many more are alike once they are composed (NFC), which llama.cpp does not do.
    with_new: how many of the rest hold a token that was added to the base.
    examples: (text, ids by llama.cpp, ids by tokenizers) of some that differ.
    """

    compared: int
    alike: int
    not_composed: int
    with_new: int
    examples: list[tuple[str, list[int], list[int]]]


def can_run() -> bool:
    """Return whether llama-cpp-python is installed."""
    return find_spec("llama_cpp") is not None


def compare(path: Path, tokenizer: Tokenizer, texts: Sequence[str], *, first_new: int | None = None) -> Comparison:
    """Return on how many of `texts` llama.cpp, with the file at `path`, agrees with tokenizers.

    first_new: the first id that the base does not have.
    Raises CheckpointError when llama.cpp cannot load the file.
    """
    expected = hf_json.encode(hf_json.build(tokenizer.json, tokenizer.source), texts)
    composed = [normalize("NFC", text) for text in texts]
    found = _encode(path, [*texts, *composed])
    different = [i for i, right in enumerate(expected) if found[i] != right]
    others = [i for i in different if found[len(texts) + i] != expected[i]]
    limit = tokenizer.size if first_new is None else first_new
    with_new = sum(any(token >= limit for token in (*found[i], *expected[i])) for i in others)
    alike, not_composed = len(texts) - len(different), len(different) - len(others)
    examples = [(texts[i], found[i], expected[i]) for i in (others or different)[:20]]
    return Comparison(len(texts), alike, not_composed, with_new, examples)


def _encode(path: Path, texts: Sequence[str]) -> list[list[int]]:
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps([str(path), list(texts)]),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if "error" in line.lower() or "unknown" in line.lower()]
        raise CheckpointError(
            f"llama.cpp cannot load {path} ({lines[-1].strip() if lines else f'exit code {run.returncode}'}); "
            f"update llama-cpp-python, or write it anew"
        )
    found: list[list[int]] = json.loads(run.stdout)
    return found
