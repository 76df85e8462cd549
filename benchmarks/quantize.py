"""What few bits cost: bits per byte and bytes of a model in bfloat16, int8 and NF4, and beside it in int4.

    python benchmarks/quantize.py MODEL --text FILE [--text FILE ...] [--lines 200]

MODEL is a model folder.  int8 and NF4 are written by `vocabkit quantize` and read back; int4 exists in memory alone.
Every format reads the same lines of every text; those of a text are documents.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from harness import save
from safetensors.torch import load_file, save_file

from vocabkit.infer.quantize import quantize
from vocabkit.model.load import load_model
from vocabkit.model.scores import document_bits
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.start import start_id


def rounded(model: Path, folder: Path) -> Path:
    """Return a copy of a model with its weights in bfloat16, as most are published."""
    folder.mkdir()
    for path in model.iterdir():
        if path.suffix == ".safetensors":
            tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(path).items()}
            save_file(tensors, folder / path.name, metadata={"format": "pt"})
        elif path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def formats(model: Path, folder: Path) -> Iterator[tuple[str, Any, int]]:
    """Yield the name of a format, the model in it, and the bytes of its weights on disk (0: it has none)."""
    base = rounded(model, folder / "bf16")

    def size(one: Path) -> int:
        return sum(path.stat().st_size for path in one.glob("*.safetensors"))

    yield "bf16", load_model(base, device="cpu"), size(base)
    for form in ("int8", "nf4"):
        quantize(base, folder / form, form)
        yield form, load_model(folder / form, device="cpu"), size(folder / form)
    yield "int4, in memory", load_model(base, device="cpu", form="int4"), 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, action="append", required=True)
    parser.add_argument("--lines", type=int, default=200)
    options = parser.parse_args()
    tokenizer = open_tokenizer(options.model)
    texts = {
        path.name: [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()][: options.lines]
        for path in options.text
    }
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for form, model, size in formats(options.model, Path(name)):
            row: dict[str, Any] = {"megabytes": round(size / 1e6, 1)}
            for text, lines in texts.items():
                bits = document_bits(model, tokenizer.encode(lines), start_id(tokenizer))
                row[text] = round(math.fsum(bits) / sum(len(line.encode()) for line in lines), 4)
            found[form] = row
            print(form, row, file=sys.stderr, flush=True)
    save("quantize", {"model": options.model.name, "lines": {n: len(v) for n, v in texts.items()}, "formats": found})


if __name__ == "__main__":
    main()
