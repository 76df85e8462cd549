"""A run for LLaMA-Factory."""

from __future__ import annotations

import json
from typing import Any

from vocabkit.model.chat import CHAT
from vocabkit.train.external.common import (
    about_documents,
    comment,
    common_notes,
    common_numbers,
    warmup,
    whole,
    yaml_text,
)
from vocabkit.train.external.job import Job

# What LLaMA-Factory opens, and its template for each of ours; the first alone differs in wording.
SUFFIXES = (".txt", ".json", ".jsonl", ".parquet")
LLAMA_FACTORY_TEMPLATES = {"alpaca": "alpaca", "alpaca-2": "llama2_zh", "mixtral": "llama2"}


# LLaMA-Factory.  Source: src/llamafactory/hparams, data/parser.py and model/adapter.py of 0.9.6.dev0.


def llama_factory(job: Job) -> str:
    settings = job.settings
    info = _dataset_info(job)
    config: dict[str, Any] = {
        "model_name_or_path": job.model,
        "stage": "sft" if job.record else "pt",
        "do_train": True,
    }
    names = ",".join(job.modules)
    if settings.targets:
        config |= {
            "finetuning_type": "lora",
            "lora_rank": settings.rank,
            "lora_alpha": whole(settings.alpha),
            "lora_dropout": settings.dropout,
            "lora_target": "all" if job.targets is None else ",".join(job.targets),
            **({"additional_target": names} if names else {}),
        }
    else:
        config |= {"finetuning_type": "freeze", "freeze_trainable_layers": 0, "freeze_extra_modules": names}
    if job.is_quantized:
        config |= {"quantization_bit": 4, "quantization_type": "nf4", "double_quantization": True}
    config |= {"dataset": ",".join(info), "dataset_dir": ".", "cutoff_len": settings.block_size}
    if job.record:
        template = LLAMA_FACTORY_TEMPLATES.get(job.template)
        config |= {"template": template} if template else {}
        config |= {"packing": False, "train_on_prompt": False, "mask_history": False}
    config |= {"output_dir": job.output, "report_to": "none", **common_numbers(job), **warmup(job, "warmup_ratio")}
    config |= {"disable_gradient_checkpointing": not settings.checkpointing, "use_reentrant_gc": False}
    if job.experts:
        config["moe_aux_loss_coef"] = settings.aux_loss
    written = json.dumps(info, ensure_ascii=False, indent=1).replace("\n", "\n# ")
    return (
        f"# For `llamafactory-cli train FILE`; names of options are those of LLaMA-Factory 0.9.6.\n"
        f"{comment([*common_notes(job, is_quantized=job.is_quantized), *_llama_factory_notes(job)])}"
        f"# - Save this as dataset_info.json in the folder that dataset_dir names:\n# {written}\n\n"
        f"{yaml_text(config)}"
    )


def _dataset_info(job: Job) -> dict[str, Any]:
    """Return the dataset_info.json that LLaMA-Factory finds its texts by: a file each."""
    if not job.record:
        how: dict[str, Any] = {"columns": {"prompt": "text"}}
    elif "instruction" in job.record:
        columns = {"prompt": "instruction", "query": "input", "response": "output"}
        how = {"columns": {name: field for name, field in columns.items() if field in job.record}}
    elif "messages" in job.record:
        tags = {"role": "role", "content": "content", "user": "user", "assistant": "assistant", "system": "system"}
        how = {"formatting": "sharegpt", "columns": {"messages": "messages"}}
        how["tags"] = {f"{name}_tag": value for name, value in tags.items()}
    else:
        how = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
    return {
        text.name if len(text.files) == 1 else f"{text.name}-{i}": {"file_name": file, **how}
        for text in job.texts
        for i, file in enumerate(text.files, 1)
    }


def _llama_factory_notes(job: Job) -> list[str]:
    settings = job.settings
    notes = []
    if job.new is not None:
        notes.append(
            f"LLaMA-Factory has no option for some rows of a matrix: every row trains, and not {span(job.new)} "
            f"alone. Old tokens will change; axolotl and trl can leave them as they are."
        )
    if job.matrices and job.tied and settings.targets:
        notes.append(
            "The model is tied. additional_target trains a copy of its input alone, which becomes the head when the "
            "adapter is merged: evaluate after that. axolotl and trl keep both one while they train."
        )
    if job.has_two_rates:
        notes.append(
            f"One learning rate for all: rows train with that of adapters, not with {settings.rows_learning_rate}."
        )
    notes.append(f"Weights are loaded in the checkpoint's own type; bf16 and fp16 say how products are computed "
                 f"({job.dtype}).")  # fmt: skip
    if settings.steps is None:
        notes.append(
            f"warmup_ratio is for transformers up to 5.8, which LLaMA-Factory asks for; later ones take "
            f"`warmup_steps: {settings.warmup}`."
        )
    notes += about_documents(
        job,
        "Documents end with EOS. BOS takes the place of a block's first id if the tokenizer adds one, and the last "
        "block is left out unless it is full.",
    )
    if job.record and job.template == "alpaca":
        notes.append("Its template alpaca breaks the line after `### Response:`, where ours has a space.")
    if job.record and job.template == CHAT:
        notes.append("No template is named, so it is read off the tokenizer's own; look at the example it prints.")
    files = [file for text in job.texts for file in text.files]
    unknown = next((file for file in files if not file.endswith(SUFFIXES)), None)
    if unknown:
        notes.append(f"LLaMA-Factory opens {', '.join(SUFFIXES)}; write {unknown} as one of them.")
    return notes


def span(rows: range) -> str:
    return f"rows {rows.start} to {rows.stop - 1}"
