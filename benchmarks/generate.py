"""Writing text beside transformers: tokens a second, prefill, memory; and characters a second after extension.

    python benchmarks/generate.py MODEL [--extended EXTENDED --text CHINESE] [--runs 3] [--new-tokens 64]
        [--ways vocabkit transformers]

MODEL is a model folder, EXTENDED the same with more tokens. Each way runs in a process of its own, in turn: ours in
the model's type, in int8 and int4 (CPU) or NF4 (GPU); transformers' generate with its cache; on a GPU transformers
with bitsandbytes' NF4, and unsloth where it is installed. All write the same number of tokens greedily from the
same prompts, at batch 1 and 8; the first text of every process warms up and is not timed. Characters a second are
those of CHINESE that the tokens of each vocabulary hold, times tokens a second: what a reader waits for.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from harness import save

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
DTYPE = "bfloat16" if GPU else "float32"
PROMPT_TOKENS, BATCHES = 512, (1, 8)
OURS = ("vocabkit", "vocabkit nf4") if GPU else ("vocabkit", "vocabkit int8", "vocabkit int4")


def prompts(size: int, count: int, length: int) -> list[list[int]]:
    """Return ids that differ from text to text."""
    return [[(7919 * (i + 1) * (j + 1)) % size for j in range(length)] for i in range(count)]


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that something takes, to its end on the device."""
    if GPU:
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measured(write: Callable[[list[list[int]], int], None], size: int, new_tokens: int) -> dict[str, Any]:
    """Return tokens a second: of decoding at each batch, the time of the first token taken off, and of prefill."""
    write(prompts(size, 1, 8), 4)
    found: dict[str, Any] = {}
    for batch in BATCHES:
        texts = prompts(size, batch, 16)
        first = timed(lambda texts=texts: write(texts, 1))
        whole = timed(lambda texts=texts: write(texts, new_tokens))
        found[f"decode {batch}"] = batch * (new_tokens - 1) / (whole - first)
    long = prompts(size, 1, PROMPT_TOKENS)
    found["prefill"] = PROMPT_TOKENS / min(timed(lambda: write(long, 1)) for _ in range(2))
    peak = torch.cuda.max_memory_allocated() if GPU else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**found, "megabytes": peak / 1e6}


def ours(folder: Path, form: str, new_tokens: int) -> dict[str, Any]:
    """Measure our engine."""
    from vocabkit.infer.load import Opening, open_engine
    from vocabkit.infer.sampling import Sampling
    from vocabkit.infer.scheduler import Scheduler

    engine = open_engine(folder, Opening(device=DEVICE, dtype=DTYPE, quantize=form))

    def write(texts: list[list[int]], count: int) -> None:
        # A cache that holds nothing of the texts before.
        scheduler = Scheduler(engine, max_batch=len(texts))
        for ids in texts:
            scheduler.submit(ids, Sampling(count, ignore_eos=True))
        for _ in scheduler.run():
            pass

    return measured(write, engine.tokenizer.size, new_tokens)


def theirs(folder: Path, way: str, new_tokens: int) -> dict[str, Any]:
    """Measure transformers' generate, or unsloth's."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    # Whoever lets a model write needs its tokenizer; ours is open too.
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    more: dict[str, Any] = {"dtype": getattr(torch, DTYPE)}
    if way == "transformers + bitsandbytes":
        more["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, DTYPE),
        )  # fmt: skip
    if way == "unsloth":
        from unsloth import FastLanguageModel

        model, _ = FastLanguageModel.from_pretrained(str(folder), dtype=getattr(torch, DTYPE), load_in_4bit=True)
        FastLanguageModel.for_inference(model)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, device_map=DEVICE, **more).eval()

    def write(texts: list[list[int]], count: int) -> None:
        ids = torch.tensor(texts, device=DEVICE)
        model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count, do_sample=False,
            pad_token_id=0,
        )  # fmt: skip

    return measured(write, len(tokenizer), new_tokens)


def one(way: str, folder: Path, new_tokens: int) -> dict[str, Any]:
    """Measure one way in this process."""
    if way.startswith("vocabkit"):
        return ours(folder, way.partition(" ")[2] or "none", new_tokens)
    return theirs(folder, way, new_tokens)


def characters_a_token(folder: Path, text: Path) -> float:
    """Return how many characters of a text one token holds."""
    from vocabkit.tokenizer import open_tokenizer

    lines = [line for line in text.read_text(encoding="utf-8").splitlines() if line.strip()][:2000]
    return sum(map(len, lines)) / sum(map(len, open_tokenizer(folder).encode(lines)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--extended", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--name", default="generate")
    parser.add_argument("--ways", nargs="+", help="only these, by their names in the result")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.model, options.new_tokens)))
        return
    ways = dict.fromkeys((*OURS, "transformers"), options.model)
    if GPU and find_spec("bitsandbytes"):
        ways["transformers + bitsandbytes"] = options.model
    if GPU and find_spec("unsloth"):
        ways["unsloth"] = options.model
    if options.extended:
        ways["vocabkit, extended"] = options.extended
    ways = {way: folder for way, folder in ways.items() if not options.ways or way in options.ways}
    done: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for number in range(options.runs):
        for way, folder in ways.items():
            command = [
                sys.executable, __file__, folder, "--one", way.removesuffix(", extended"), "--new-tokens",
                options.new_tokens,
            ]  # fmt: skip
            out = subprocess.run([str(p) for p in command], check=True, capture_output=True, text=True).stdout
            done[way].append(json.loads(out.splitlines()[-1]))
            print(f"run {number + 1}, {way}: {done[way][-1]}", file=sys.stderr)
    figures = {way: {n: round(median(r[n] for r in rows), 1) for n in rows[0]} for way, rows in done.items()}
    peers = [way for way in ways if not way.startswith("vocabkit")]
    ratios = {
        f"{way} / {peer}": {n: round(figures[way][n] / figures[peer][n], 2) for n in figures[peer]}
        for way in OURS
        if way in ways
        for peer in peers
    }
    result: dict[str, Any] = {"model": options.model.name, "dtype": DTYPE, "figures": figures, "ratios": ratios}
    if options.extended and options.text:
        each = {"plain": characters_a_token(options.model, options.text)}
        each["extended"] = characters_a_token(options.extended, options.text)
        for batch in BATCHES:
            plain = each["plain"] * figures["vocabkit"][f"decode {batch}"]
            extended = each["extended"] * figures["vocabkit, extended"][f"decode {batch}"]
            each |= {
                f"characters a second, {batch}": [round(plain, 1), round(extended, 1), round(extended / plain, 2)]
            }
        result["characters a token"] = each
    save(options.name, {**result, "runs": dict(done.items())})


if __name__ == "__main__":
    main()
