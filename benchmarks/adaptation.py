"""Does extension pay?  The experiment that papers disagree on, as a miniature that a CPU does in half an hour.

    python benchmarks/adaptation.py ENGLISH CHINESE [--seeds 3] [--width 192] [--bytes 1000000]

A small Llama is trained on ENGLISH from nothing, with a byte-level tokenizer of 4,096 tokens learned there, and
with a little Chinese among it, as models have that are extended: else its bytes of Chinese are rows of noise. Then
it is taught CHINESE by `vocabkit train` in three ways: with its own vocabulary, with an extended one on the same
bytes, and with an extended one for as many tokens as the first way saw (equal compute); each without and with a
fifth of English mixed in, from several seeds. Bits per byte of held-out lines of both languages; differences with a
paired bootstrap over lines and seeds. An interval that holds 0 is "not resolved". What a model of this size does
need not hold for one of seven billion parameters. ENGLISH and CHINESE are text files with a document on each line.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from harness import save

from vocabkit.model.load import load_model
from vocabkit.model.scores import document_bits
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.start import start_id

HELD_OUT = 60
VOCABULARY, NEW_TOKENS = 4096, 2048
BLOCK, BATCH = 128, 16
RESAMPLES = 2000
ARMS = ("own vocabulary", "extended, equal bytes", "extended, equal compute")


def split(path: Path, folder: Path, name: str, size: int) -> tuple[Path, Path, list[str]]:
    """Write `size` bytes of a text's lines, and in another file the rest; return both, and lines in neither."""
    lines = sorted({line.strip() for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 40})
    random.Random(0).shuffle(lines)
    held, kept, rest, taken = lines[:HELD_OUT], [], [], 0
    for line in lines[HELD_OUT:]:
        (kept if taken < size else rest).append(line)
        taken += len(line.encode())
    files = folder / f"{name}.txt", folder / f"{name}.other.txt"
    for file, part in zip(files, (kept, rest), strict=True):
        file.write_text("".join(f"{line}\n" for line in part), encoding="utf-8")
    return *files, held


def small_model(folder: Path, english: Path, width: int) -> Path:
    """Return a small Llama of random weights with a tokenizer learned on English."""
    import tokenizers

    base = folder / "random"
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train([str(english)], VOCABULARY, special_tokens=["<|endoftext|>"], show_progress=False)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    wrapped.save_pretrained(base)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=width * 8 // 3, num_hidden_layers=4,
        num_attention_heads=4, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(base)
    return base


def vocabkit(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "vocabkit", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL
    )  # fmt: skip


def train(model: Path, output: Path, data: Sequence[object], cache: Path, rate: float, seed: int) -> Path:
    """Train all rows and adapters of high rank on every layer, which at this size is nearly everything; fuse."""
    vocabkit(
        "train", model, "--stage", "pretrain", "--rows", "all", "--targets", "all-linear", "--rank", 64,
        "--alpha", 64, "--dropout", 0, "--learning-rate", rate, "--rows-learning-rate", rate, "--block-size", BLOCK,
        "--batch-size", BATCH,
        "--micro-batch", BATCH, "--seed", seed, "--cache", cache, *data, "-o", output / "run", "--json",
    )  # fmt: skip
    vocabkit("fuse", output / "run", "-o", output / "model", "--no-verify", "--json")
    return output / "model"


def bits(model: Path, lines: Sequence[str]) -> list[float]:
    """Return bits per byte of each line."""
    tokenizer = open_tokenizer(model)
    found = document_bits(load_model(model), tokenizer.encode(lines), start_id(tokenizer), context=BLOCK)
    return [one / len(line.encode()) for one, line in zip(found, lines, strict=True)]


def interval(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], weights: Any) -> dict[str, Any]:
    """Return the mean of second - first, [seeds][lines], weighed by bytes, and its 95 % interval by a bootstrap."""
    difference = np.array(second) - np.array(first)
    generator = np.random.default_rng(0)
    seeds, lines = difference.shape
    means = []
    for _ in range(RESAMPLES):
        chosen = difference[generator.integers(0, seeds, seeds)][:, (at := generator.integers(0, lines, lines))]
        means.append(float((chosen * weights[at]).sum(1).mean() / weights[at].sum()))
    low, high = np.quantile(means, [0.025, 0.975])
    whole = float((difference * weights).sum(1).mean() / weights.sum())
    verdict = "not resolved" if low <= 0 <= high else "better" if high < 0 else "worse"
    return {"difference": round(whole, 4), "low": round(low, 4), "high": round(high, 4), "verdict": verdict}


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
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        english, _, held_en = split(options.english, folder, "en", options.english_bytes)
        chinese, seen, held_zh = split(options.chinese, folder, "zh", options.bytes)
        base = small_model(folder, english, options.width)
        both: list[object] = ["--data", f"en={english}", "--epochs", options.epochs]
        both += ["--data", f"zh={seen}", "--mix", f"zh={options.seen}"] if options.seen else []
        known = train(base, folder / "known", both, cache, 3e-3, 0)
        extended = folder / "extended"
        vocabkit(
            "extend", "--lang", "zh", "--base", known, "--corpus", chinese, "--size", NEW_TOKENS, "--init", "copy",
            "-o", extended, "--json",
        )  # fmt: skip
        sizes = [sum(map(len, open_tokenizer(m).encode(chinese.read_text().splitlines()))) for m in (known, extended)]
        weights = {
            "zh": np.array([len(s.encode()) for s in held_zh]), "en": np.array([len(s.encode()) for s in held_en])
        }  # fmt: skip
        texts = {"zh": held_zh, "en": held_en}
        before = {n: [bits(known, lines)] for n, lines in texts.items()}
        measured: dict[str, dict[str, list[list[float]]]] = {}
        for replay in (0.0, 0.2):
            for arm in ARMS:
                row = measured.setdefault(f"{arm}, {replay:.0%} English", {"zh": [], "en": []})
                model = known if arm == ARMS[0] else extended
                epochs = sizes[0] / sizes[1] if arm == ARMS[2] else 1.0
                data: list[object] = ["--data", f"zh={chinese}", "--epochs", epochs]
                data += ["--data", f"en={english}", "--mix", f"en={replay}"] if replay else []
                for seed in range(options.seeds):
                    target = folder / f"{arm}-{replay}-{seed}"
                    trained = train(model, target, data, cache, 1e-3, seed)
                    for language, lines in texts.items():
                        row[language].append(bits(trained, lines))
                    mean = {n: float(np.average(v[-1], weights=weights[n])) for n, v in row.items()}
                    print(
                        f"{time.monotonic() - begun:.0f} s: {arm}, {replay:.0%}, seed {seed}: {mean}", file=sys.stderr
                    )
    own = {replay: measured[f"{ARMS[0]}, {replay:.0%} English"] for replay in (0.0, 0.2)}
    comparisons = {
        f"{arm} against {ARMS[0]}, {replay:.0%} English": {
            n: interval(own[replay][n], measured[f"{arm}, {replay:.0%} English"][n], weights[n]) for n in texts
        }
        for replay in (0.0, 0.2)
        for arm in ARMS[1:]
    }
    comparisons |= {
        f"{arm}: 20% English against none": {
            n: interval(measured[f"{arm}, 0% English"][n], measured[f"{arm}, 20% English"][n], weights[n])
            for n in texts
        }
        for arm in ARMS
    }

    def mean(found: Sequence[Sequence[float]], n: str) -> float:
        return round(float(np.average(np.array(found), axis=1, weights=weights[n]).mean()), 4)

    save(
        "adaptation",
        {
            "width": options.width, "bytes": options.bytes, "seeds": options.seeds, "held_out_lines": HELD_OUT,
            "chinese_seen_before": options.seen,
            "tokens_per_byte": {"own": sizes[0] / options.bytes, "extended": sizes[1] / options.bytes},
            "before": {n: mean(before[n], n) for n in texts},
            "bits_per_byte": {arm: {n: mean(found[n], n) for n in texts} for arm, found in measured.items()},
            "comparisons": comparisons, "minutes": round((time.monotonic() - begun) / 60, 1),
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
