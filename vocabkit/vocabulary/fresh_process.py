"""Encode texts in a new process with nothing but the saved files, as a user without vocabkit would."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from vocabkit.errors import VocabkitError

_SCRIPT = """
import json, sys
folder, texts = json.load(sys.stdin)
results = {}
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
results["tokenizers in a new process"] = [encoding.ids for encoding in encodings]
if "AutoTokenizer" in sys.argv:
    # transformers would import it, for seconds; without it the tokenizer is the same.
    sys.modules["torch"] = None
    from transformers import AutoTokenizer
    auto = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    results["AutoTokenizer"] = auto(texts, add_special_tokens=False)["input_ids"]
json.dump(results, sys.stdout)
"""


def encode_in_fresh_process(folder: Path, texts: Sequence[str]) -> dict[str, list[list[int]]]:
    """Return the ids of `texts` from tokenizers, and from AutoTokenizer when transformers is installed."""
    engines = ["AutoTokenizer"] if find_spec("transformers") else []
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *engines],
        input=json.dumps([str(folder), list(texts)]),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if run.returncode != 0:
        reason = run.stderr.strip().splitlines()[-1:] or [f"exit code {run.returncode}"]
        raise VocabkitError(f"a new process cannot load {folder}: {reason[0]}")
    results: dict[str, list[list[int]]] = json.loads(run.stdout[run.stdout.index("{") :])
    return results
