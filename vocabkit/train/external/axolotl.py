"""A run for axolotl."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from vocabkit.model.chat import CHAT, TEMPLATES
from vocabkit.train.external.common import (
    WIDTH,
    about_documents,
    comment,
    common_notes,
    common_numbers,
    warmup,
    whole,
    yaml_text,
)
from vocabkit.train.external.job import Job
from vocabkit.train.external.llama_factory import span

AXOLOTL_NAMES = {
    "per_device_train_batch_size": "micro_batch_size",
    "lr_scheduler_type": "lr_scheduler",
    "optim": "optimizer",
    "num_train_epochs": "num_epochs",
}


# axolotl.  Source: src/axolotl/utils/schemas, loaders/adapter.py, utils/freeze.py and core/trainers of 0.18.0.


def axolotl(job: Job) -> str:
    settings = job.settings
    config: dict[str, Any] = {"base_model": job.model}
    ids = ""
    if settings.targets:
        config |= {
            **({"adapter": "qlora", "load_in_4bit": True} if job.is_quantized else {"adapter": "lora"}),
            "lora_r": settings.rank,
            "lora_alpha": whole(settings.alpha),
            "lora_dropout": settings.dropout,
            **({"lora_target_linear": True} if job.targets is None else {"lora_target_modules": job.targets}),
        }
        if job.new is not None:
            ids = _token_indices(job.modules, job.new)
        elif job.matrices:
            config["lora_modules_to_save"] = job.modules
            config |= {"peft_ensure_weight_tying": True} if job.tied else {}
    else:
        rows = "" if job.new is None else f"[{job.new.start}:{job.new.stop}]"
        config["unfrozen_parameters"] = [f"^{name}${rows}" for name in job.matrices]
    config |= {"datasets": _datasets(job), "sequence_len": settings.block_size, "val_set_size": 0.0}
    if job.record:
        config |= {"sample_packing": False, "excess_length_strategy": "truncate", "train_on_inputs": False}
    else:
        # Needs no further package, and keeps documents apart.
        config |= {"sample_packing": True, "attn_implementation": "sdpa"}
    config["output_dir"] = job.output
    config |= {AXOLOTL_NAMES.get(name, name): value for name, value in common_numbers(job).items()}
    config |= warmup(job, "warmup_ratio")
    if job.matrices:
        config["embedding_lr"] = settings.rows_learning_rate
    if job.dtype == "float32":
        config["float32"] = True
    config |= {"gradient_checkpointing": settings.checkpointing}
    config |= {"gradient_checkpointing_kwargs": {"use_reentrant": False}} if settings.checkpointing else {}
    if job.experts:
        how = {"output_router_logits": True, "router_aux_loss_coef": settings.aux_loss}
        config["overrides_of_model_config"] = how
    return (
        f"# For `axolotl train FILE`; names of options are those of axolotl 0.18.0.\n"
        f"{comment([*common_notes(job, is_quantized=job.is_quantized), *_axolotl_notes(job)])}\n"
        f"{yaml_text(config)}{ids}"
    )


def _token_indices(modules: Sequence[str], new: range) -> str:
    """Return the ids that train, which YAML has no range for: once, and a reference to them."""
    ids = textwrap.fill(", ".join(map(str, new)), WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4)
    first, *others = modules
    lines = ["peft_trainable_token_indices:", f"  {first}: &new_rows [", ids, "  ]"]
    return "\n".join([*lines, *(f"  {name}: *new_rows" for name in others)]) + "\n"


def _datasets(job: Job) -> list[dict[str, Any]]:
    """Return axolotl's entries, a file each."""
    if not job.record:
        how: dict[str, Any] = {"type": "completion"}
    elif "instruction" in job.record and job.template != CHAT:
        prompt = TEMPLATES[job.template]
        more = prompt.replace("{instruction}", "{instruction}\n{input}")
        fields = {f"field_{name}": name for name in ("instruction", "input", "output")}
        how = {"type": {**fields, "format": more, "no_input_format": prompt}}
    else:
        how = {"type": "chat_template", "chat_template": "tokenizer_default", "roles_to_train": ["assistant"]}
        if "messages" in job.record:
            how["field_messages"] = "messages"
        elif "conversations" in job.record:
            how |= {
                "field_messages": "conversations",
                "message_property_mappings": {"role": "from", "content": "value"},
            }
    return [{"path": file, "ds_type": text.kind, **how} for text in job.texts for file in text.files]


def _axolotl_notes(job: Job) -> list[str]:
    settings = job.settings
    notes = []
    if job.new is not None and settings.targets:
        notes.append(f"peft_trainable_token_indices: of the vocabulary, {span(job.new)} alone train.")
    elif job.new is not None:
        notes.append(
            f"unfrozen_parameters: {span(job.new)} alone train. Gradients of the others are set to zero, so the "
            f"optimizer takes memory for whole matrices."
        )
    if job.matrices and settings.weight_decay:
        notes.append(f"Rows have no weight decay where embedding_lr is given, and not {settings.weight_decay}.")
    notes += about_documents(
        job,
        "Documents end with EOS, and begin with BOS if the tokenizer adds one. Those that fit are packed whole, and "
        "do not see each other.",
    )
    if job.record and job.template != CHAT and "instruction" not in job.record:
        notes.append(
            f"Prompts like --template {job.template} are for instructions with an output. These are conversations, "
            f"for which the tokenizer needs a chat template."
        )
    if job.record and job.template == CHAT and "instruction" in job.record:
        notes.append("A chat template is for conversations: write these instructions as `messages` first.")
    return notes
