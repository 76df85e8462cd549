"""The certificate of the best-known published merge beside that of the default path on the same base.

    python benchmarks/published_merge.py --llama tokenizer.model --pieces chinese_sp.model [--size 12000]

--llama: LLaMA's SentencePiece model.  --pieces: the Chinese one of Chinese-LLaMA-Alpaca, scripts/merge_tokenizer/ in
its repository; the recipe chinese-llama makes its released file of both, to the byte.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", type=Path, required=True)
    parser.add_argument("--pieces", type=Path, required=True)
    parser.add_argument("--size", type=int, default=12_000)
    options = parser.parse_args()
    ways = {
        "published": ["--recipe", "chinese-llama", "--vocabulary", str(options.pieces)],
        "default": ["--size", str(options.size)],
    }
    save("published-merge", {name: certificate(options.llama, more) for name, more in ways.items()})


def certificate(base: Path, more: list[str]) -> dict[str, Any]:
    """Return what `extend` says of its own output."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vocabkit", "extend", "--lang", "zh", "--base", str(base), *more]
        done = subprocess.run([*command, "--json", "-o", f"{folder}/out"], check=True, capture_output=True, text=True)
    said = json.loads(done.stdout)
    before, after = said["encode_length"]
    return {
        "new_tokens": said["new_tokens"],
        "tokens_per_character": [before["tokens_per_character"], after["tokens_per_character"]],
        "failed": [check["name"] for check in said["certificate"]["checks"] if not check["ok"]],
        "certificate": {check["name"]: check["detail"] for check in said["certificate"]["checks"]},
    }


if __name__ == "__main__":
    main()
