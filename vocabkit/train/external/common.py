"""What configurations of trainers have in common: numbers, remarks, and YAML without a library."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from vocabkit.train.external.job import Job

# As transformers names them; its "constant" has no warmup.
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
WIDTH = 110


def common_numbers(job: Job) -> dict[str, Any]:
    """Return what transformers' TrainingArguments name; LLaMA-Factory and TRL pass it on."""
    settings = job.settings
    # The same sequences in every step, even where --micro-batch does not divide them.
    micro = max(n for n in range(1, settings.micro_batch + 1) if settings.batch_size % n == 0)
    length = {"num_train_epochs": settings.epochs} if settings.steps is None else {"max_steps": settings.steps}
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": settings.batch_size // micro,
        **length,
        "learning_rate": settings.learning_rate if settings.targets else settings.rows_learning_rate,
        "lr_scheduler_type": SCHEDULES[settings.schedule],
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.clip,
        "optim": "adamw_torch",
        "adam_beta1": settings.beta1,
        "adam_beta2": settings.beta2,
        "adam_epsilon": settings.epsilon,
        "seed": settings.seed,
        "bf16": job.dtype == "bfloat16",
        "fp16": job.dtype == "float16",
        **({"torch_compile": True} if settings.compile else {}),
    }


def warmup(job: Job, ratio: str) -> dict[str, Any]:
    """Return the warmup in steps where they are known, else as their share under the name `ratio`."""
    steps, share = job.settings.steps, job.settings.warmup
    return {ratio: share} if steps is None else {"warmup_steps": round(share * steps)}


def whole(number: float) -> float:
    """Return 32 for 32.0, which PEFT and axolotl want of alpha."""
    return int(number) if number == int(number) else number


def common_notes(job: Job, *, is_quantized: bool) -> list[str]:
    """Return what is to be said to every trainer."""
    settings = job.settings
    notes = [
        f"A step is {settings.batch_size} sequences on one device; on N devices divide gradient_accumulation_steps "
        f"by N."
    ]
    if len(job.texts) > 1:
        notes.append("Texts are mixed as they are long; the shares of --mix are not here.")
    if not settings.shuffle:
        notes.append("The order of the text is the trainer's own: --no-shuffle is not here.")
    if settings.quantize == "nf4" and not is_quantized:
        notes.append("Not in 4 bits (--quantize nf4): that needs adapters here.")
    if {"w1", "w2", "w3", "gate"} & set(settings.targets):
        notes.append(
            "Adapters of experts: transformers 5 keeps the experts of a layer in one tensor, to which PEFT from "
            "0.19 on attaches them only with a dropout of 0; the router may be no linear layer. Compare the number "
            "of trained parameters with `vocabkit train ... --dry-run`."
        )
    return notes


def about_documents(job: Job, packing: str) -> list[str]:
    """Return what is to be said of BOS and EOS.  packing: how texts are cut."""
    given = (("--no-bos", job.settings.bos), ("--no-eos", job.settings.eos))
    marks = [name for name, is_set in given if not is_set]
    lost = [f"There is no option for {' and '.join(marks)}."] if marks else []
    return lost if job.record else [*lost, packing]


def comment(notes: Iterable[str]) -> str:
    lines = (textwrap.fill(note, WIDTH, initial_indent="# - ", subsequent_indent="#   ") for note in notes)
    return "\n".join(lines) + "\n"


def yaml_text(config: Mapping[str, Any]) -> str:
    """Return a mapping in YAML, a line for each key; below that it is JSON, which is YAML too."""
    lines = []
    for name, value in config.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{name}:", *(f"  - {_flow(one)}" for one in value)]
        else:
            lines.append(f"{name}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    text = json.dumps(value, ensure_ascii=False)
    # YAML 1.1 takes 1e-05 for a string.
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text
