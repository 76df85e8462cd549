"""`vocabkit train` beside the papers' way: PEFT with whole vocabulary matrices in transformers' Trainer.

    python benchmarks/training.py MODEL TEXT [--steps 6] [--runs 3] [--quantize nf4] [--block-size 256]

MODEL is an extended model folder, TEXT a file to train on.  Both train on the same sequences in the same order, with
adapters of rank 8 on the seven linear layers of every block and the papers' rates; ours trains the new rows, theirs
every row of embedding and head, as `modules_to_save` has it.  Each way runs in a process of its own, in turn.
Where there is a GPU: bfloat16, and unsloth beside them when it is installed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from harness import save

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
DTYPE = "bfloat16" if GPU else "float32"
BATCH, MICRO_BATCH, RATE, RANK, ALPHA, DROPOUT = 8, 4, 2e-4, 8, 32, 0.05
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
FIRST_STEPS = 1  # warm caches; not timed


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Run the command line and read what it logged."""
    from vocabkit.model.trained import checkpoints

    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "vocabkit", "train", options.model, "--data", options.text, "--stage", "pretrain",
            "--steps", options.steps, "--block-size", options.block_size, "--batch-size", BATCH,
            "--micro-batch", MICRO_BATCH, "--rank", RANK, "--alpha", ALPHA, "--dropout", DROPOUT,
            "--learning-rate", RATE, "--rows-learning-rate", RATE, "--quantize", options.quantize, "--dtype", DTYPE,
            "--cache", options.cache, "--save-every", options.steps, "-o", f"{folder}/run", "--json",
        ]  # fmt: skip
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
        (saved,) = checkpoints(Path(folder, "run"))
        trained = sum(tensor.nbytes for tensor in saved.trained().values())
        moments = (saved.folder / "optimizer.safetensors").stat().st_size
    return {
        "seconds": [line["seconds"] for line in lines[FIRST_STEPS:]],
        "tokens": sum(line["tokens"] for line in lines[FIRST_STEPS:]),
        "losses": [line["loss"] for line in lines],
        # What trains, a gradient of it, and what the optimizer keeps.
        "state_megabytes": (2 * trained + moments) / 1e6,
        "peak_megabytes": lines[-1]["memory_bytes"] / 1e6,
    }


def theirs(options: argparse.Namespace, way: str) -> dict[str, Any]:
    """Train as the papers' scripts do."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    model = _unsloth(options) if way == "unsloth" else _peft(options)
    seconds, losses = [], []

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if GPU:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - self.begun)

        def on_log(self, *arguments: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(logs["loss"])

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder, max_steps=options.steps, per_device_train_batch_size=MICRO_BATCH,
            gradient_accumulation_steps=BATCH // MICRO_BATCH, learning_rate=RATE, weight_decay=0.01,
            lr_scheduler_type="cosine", warmup_steps=round(0.05 * options.steps), logging_steps=1, save_strategy="no",
            report_to="none", bf16=GPU, use_cpu=not GPU, disable_tqdm=True, optim="adamw_torch",
        )  # fmt: skip
        data = sequences(options)
        trainer = InOrder(model=model, args=arguments, train_dataset=data, callbacks=[Clock()])
        trainer.train()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        state = trainer.optimizer.state if hasattr(trainer.optimizer, "state") else {}
        moments = sum(t.nbytes for one in state.values() for t in one.values() if torch.is_tensor(t))
    peak = torch.cuda.max_memory_allocated() if GPU else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "seconds": seconds[FIRST_STEPS:],
        "tokens": sum(int((one["labels"] != -100).sum()) for one in data[FIRST_STEPS * BATCH :]),
        "losses": losses,
        "state_megabytes": (2 * sum(parameter.nbytes for parameter in parameters) + moments) / 1e6,
        "peak_megabytes": peak / 1e6,
    }


def _peft(options: argparse.Namespace) -> Any:
    import peft
    import transformers

    more: dict[str, Any] = {}
    if options.quantize == "nf4":
        more["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, DTYPE), llm_int8_skip_modules=["embed_tokens", "lm_head"],
        )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_pretrained(
        options.model, dtype=getattr(torch, DTYPE), device_map=DEVICE if options.quantize == "nf4" else None, **more
    )
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=list(TARGETS),
        modules_to_save=["embed_tokens", "lm_head"],
    )  # fmt: skip
    return peft.get_peft_model(model, config)


def _unsloth(options: argparse.Namespace) -> Any:
    from unsloth import FastLanguageModel

    model, _ = FastLanguageModel.from_pretrained(
        str(options.model), max_seq_length=options.block_size, dtype=getattr(torch, DTYPE),
        load_in_4bit=options.quantize == "nf4",
    )  # fmt: skip
    return FastLanguageModel.get_peft_model(
        model, r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=[*TARGETS, "embed_tokens", "lm_head"],
        use_gradient_checkpointing=False,
    )  # fmt: skip


def sequences(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the sequences that `vocabkit train` draws, for the Trainer, which shifts labels itself."""
    from vocabkit.train.mixture import Mixture
    from vocabkit.train.recipe import Recipe
    from vocabkit.train.token_cache import open_cache

    recipe = Recipe(str(options.model), (str(options.text),), options.block_size)
    mixture = Mixture({"target": open_cache(recipe, options.cache)}, {}, 0)
    found = []
    for drawn in mixture.draw(BATCH * options.steps):
        ids = torch.from_numpy(drawn.ids).long()
        labels = torch.where(torch.from_numpy(drawn.learned), ids, -100)
        # The last block of a shard may be short.
        missing = options.block_size - len(ids)
        pad = torch.nn.functional.pad
        found.append({"input_ids": pad(ids, (0, missing)), "labels": pad(labels, (0, missing), value=-100)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--block-size", type=int, default=256)
    parser.add_argument("--quantize", choices=["none", "nf4"], default="none")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        found = ours(options) if options.way == "vocabkit" else theirs(options, options.way)
        print(json.dumps(found))
        return
    ways = ["vocabkit", "papers"] + (["unsloth"] if GPU and find_spec("unsloth") else [])
    done: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as cache:
        for number in range(options.runs):
            for way in ways:
                command = [sys.executable, __file__, *sys.argv[1:], "--way", way, "--cache", cache]
                out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                done[way].append(json.loads(out.splitlines()[-1]))
                shown = {name: value for name, value in done[way][-1].items() if name != "losses"}
                print(f"run {number + 1}, {way}: {shown}", file=sys.stderr, flush=True)
    rows = {
        way: {
            "step_seconds": round(median(s for one in found for s in one["seconds"]), 3),
            "tokens_per_second": round(median(one["tokens"] / sum(one["seconds"]) for one in found), 1),
            "state_megabytes": round(found[0]["state_megabytes"], 1),
            "peak_megabytes": round(median(one["peak_megabytes"] for one in found), 1),
            "first_loss": round(found[0]["losses"][0], 4),
            "last_loss": round(found[0]["losses"][-1], 4),
        }
        for way, found in done.items()
    }
    mine, other = rows["vocabkit"], rows["papers"]
    ratios = {
        name: round(mine[name] / other[name], 3) for name in ("step_seconds", "state_megabytes", "peak_megabytes")
    }
    document = {
        "device": torch.cuda.get_device_name() if GPU else "cpu", "dtype": DTYPE, "quantize": options.quantize,
        "steps": options.steps, "runs": options.runs, "block_size": options.block_size, "ways": rows,
        "ours_over_papers": ratios, "missing": [] if find_spec("unsloth") else ["unsloth"],
    }  # fmt: skip
    save("training" if options.quantize == "none" else f"training-{options.quantize}", document)


if __name__ == "__main__":
    main()
