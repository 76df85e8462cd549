"""Does extension pay?  The experiment that papers disagree on, as a miniature that a CPU does in minutes.

    python benchmarks/adaptation.py ENGLISH CHINESE [--seeds 3] [--width 192] [--bytes 1000000] [--random-init]

A small Llama is trained on ENGLISH from nothing, with a byte-level tokenizer of 4,096 tokens learned there, and
with a little Chinese among it, as models have that are extended: else its bytes of Chinese are rows of noise. It is
extended, and `vocabkit ab` teaches both CHINESE, without and with a fifth of English mixed in (docs/ab.md says what
is held equal). Differences between the two mixtures are compared here, seed by seed and line by line. What a model
of this size does need not hold for one of seven billion parameters. ENGLISH and CHINESE are text files with a
document on each line.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import save

HELD_OUT = 60
VOCABULARY, NEW_TOKENS = 4096, 2048
# Adapters of high rank on every layer and all rows are, at this size, nearly everything.
SETTINGS = (
    "--rows", "all", "--targets", "all-linear", "--rank", 64, "--alpha", 64, "--dropout", 0, "--block-size", 128,
    "--batch-size", 16, "--micro-batch", 16,
)  # fmt: skip


def split(path: Path, folder: Path, name: str, size: int) -> tuple[Path, Path, Path]:
    """Write `size` bytes of a text's lines, the rest, and lines that are in neither; return the three files."""
    lines = sorted({line.strip() for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 40})
    random.Random(0).shuffle(lines)
    kept, rest, taken = [], [], 0
    for line in lines[HELD_OUT:]:
        (kept if taken < size else rest).append(line)
        taken += len(line.encode())
    files = folder / f"{name}.txt", folder / f"{name}.other.txt", folder / f"{name}.held.txt"
    for file, part in zip(files, (kept, rest, lines[:HELD_OUT]), strict=True):
        file.write_text("".join(f"{line}\n" for line in part), encoding="utf-8")
    return files


def small_model(folder: Path, english: Path, width: int, vocabulary: int = VOCABULARY) -> Path:
    """Return a small Llama of random weights with a tokenizer learned on English."""
    import tokenizers
    import torch
    import transformers

    base = folder / "random"
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train([str(english)], vocabulary, special_tokens=["<|endoftext|>"], show_progress=False)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    wrapped.save_pretrained(base)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=width, intermediate_size=width * 8 // 3,
        num_hidden_layers=4, num_attention_heads=4, max_position_embeddings=1024, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(base)
    return base


def vocabkit(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "vocabkit", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL
    )  # fmt: skip


def mixtures(folders: dict[float, Path], held: dict[str, Path]) -> list[dict[str, Any]]:
    """Return what replay changes in every arm, from the scores that two experiments left."""
    from vocabkit.ab.arms import read_scores
    from vocabkit.ab.documents import Texts
    from vocabkit.ab.readouts import BITS
    from vocabkit.ab.results import compared

    texts = Texts({}, {name: path.read_text(encoding="utf-8").splitlines() for name, path in held.items()})
    found = []
    for arm in sorted(path.name for path in (folders[0.0] / "arms").iterdir()):
        scores = {}
        for share, folder in folders.items():
            files = sorted((folder / "scores" / arm).iterdir())
            scores[share] = [read_scores(file) for file in files]
        for readout in BITS:
            one = compared(f"{arm}, 20 % English", f"{arm}, none", readout, scores[0.2], scores[0.0], texts)
            found.append(one.to_json())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("english", type=Path)
    parser.add_argument("chinese", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--bytes", type=int, default=1_000_000, help="of Chinese")
    parser.add_argument("--epochs", type=float, default=3, help="passes over English before")
    parser.add_argument("--seen", type=float, default=0.05, help="share of other Chinese among English before")
    parser.add_argument("--english-bytes", type=int, default=10_000_000)
    parser.add_argument("--random-init", action="store_true", help="one more arm, of random new rows")
    options = parser.parse_args()
    begun = time.monotonic()
    minutes: dict[str, float] = {}

    def lap(name: str) -> None:
        minutes[name] = round((time.monotonic() - begun) / 60 - sum(minutes.values()), 1)
        print(f"{name}: {minutes[name]} minutes", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        english, _, held_en = split(options.english, folder, "en", options.english_bytes)
        chinese, seen, held_zh = split(options.chinese, folder, "zh", options.bytes)
        both: list[object] = ["--data", f"en={english}", "--epochs", options.epochs]
        both += ["--data", f"zh={seen}", "--mix", f"zh={options.seen}"] if options.seen else []
        vocabkit(
            "train", small_model(folder, english, options.width), "--stage", "pretrain", *SETTINGS, *both,
            "--learning-rate", 3e-3, "--rows-learning-rate", 3e-3, "--cache", folder / "cache", "-o", folder / "run",
        )  # fmt: skip
        known, extended = folder / "known", folder / "extended"
        vocabkit("fuse", folder / "run", "-o", known, "--no-verify")
        vocabkit(
            "extend", "--lang", "zh", "--base", known, "--corpus", chinese, "--size", NEW_TOKENS, "--init", "copy",
            "-o", extended,
        )  # fmt: skip
        lap("base")
        folders, results = {0.0: folder / "ab-0", 0.2: folder / "ab-20"}, {}
        for share, target in folders.items():
            vocabkit(
                "ab", known, extended, "--data", chinese, "--eval", held_zh, "--eval-base", held_en, *SETTINGS,
                "--learning-rate", 1e-3, "--rows-learning-rate", 1e-3, "--seeds", options.seeds,
                *(["--replay", english, "--mix", share] if share else []),
                *(["--random-init"] if options.random_init else []), "-o", target,
            )  # fmt: skip
            results[f"{share:.0%} English"] = json.loads((target / "results.json").read_text(encoding="utf-8"))
            print((target / "results.md").read_text(encoding="utf-8"), file=sys.stderr)
            lap(f"ab, {share:.0%} English")
        for one in results.values():
            # Paths of this machine say nothing.
            del one["base"], one["extended"]
        save(
            "adaptation",
            {
                "width": options.width, "bytes": options.bytes, "seeds": options.seeds, "held_out_lines": HELD_OUT,
                "chinese_seen_before": options.seen, "experiments": results,
                "replay": mixtures(folders, {"target": held_zh, "base": held_en}), "minutes": minutes,
            },
        )  # fmt: skip


if __name__ == "__main__":
    main()
