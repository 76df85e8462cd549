"""A run's settings as a configuration for other trainers; what they cannot express stands in its comments."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.corpus import open_corpus
from vocabkit.corpus.sources import format_of
from vocabkit.errors import CheckpointError, UnknownNameError, VocabkitError
from vocabkit.plugins import load_plugins
from vocabkit.rows.checkpoint import CONFIG, holds_model, open_checkpoint, read_json, vocab_sizes
from vocabkit.tokenizer.folder import Sidecars
from vocabkit.train.chat import AUTO, CHAT, ROLES, TEMPLATES
from vocabkit.train.settings import DTYPES, Settings

# As transformers names them; its "constant" has no warmup.
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
# Readers of Hugging Face's datasets, by our names of formats.
KINDS = {"json lines": "json", "parquet": "parquet"}
MATRICES = ("model.embed_tokens.weight", "lm_head.weight")
INSTRUCTION = frozenset(("instruction", "input", "output"))
# What LLaMA-Factory opens, and its template for each of ours; the first alone differs in wording.
SUFFIXES = (".txt", ".json", ".jsonl", ".parquet")
LLAMA_FACTORY_TEMPLATES = {"alpaca": "alpaca", "alpaca-2": "llama2_zh", "mixtral": "llama2"}
AXOLOTL_NAMES = {
    "per_device_train_batch_size": "micro_batch_size",
    "lr_scheduler_type": "lr_scheduler",
    "optim": "optimizer",
    "num_train_epochs": "num_epochs",
}
WIDTH = 110


def config_for(
    trainer: str, model: Path, settings: Settings, data: Mapping[str, Sequence[str]], output: Path | None
) -> str:
    """Return what another trainer needs to run `settings`: YAML, or a Python script for TRL.

    trainer: "llama-factory", "axolotl" or "trl".  data: name of a text -> its files; they need not be here.
    Raises UnknownNameError for another trainer, VocabkitError for a model that such settings do not fit.
    """
    if trainer not in TRAINERS:
        raise UnknownNameError("trainer", trainer, TRAINERS)
    return TRAINERS[trainer](_job(model, settings, data, output))


@dataclass(frozen=True)
class Text:
    """Files of one format.  kind: "text", "json" or "parquet"."""

    name: str
    files: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Job:
    """What every trainer is told.

    record: fields of the instructions, empty for text.  template: of instructions.  dtype: never "auto".
    matrices: tensors of the vocabulary that train.  new: the rows of them that train, None for all.
    experts: whether the model is a mixture.
    """

    model: str
    output: str
    settings: Settings
    texts: tuple[Text, ...]
    record: frozenset[str]
    template: str
    dtype: str
    matrices: tuple[str, ...]
    tied: bool
    new: range | None
    experts: bool

    @property
    def modules(self) -> list[str]:
        """The modules of the matrices, by the last part of their name."""
        return [name.split(".")[-2] for name in self.matrices]

    @property
    def has_two_rates(self) -> bool:
        """Whether rows and adapters both train, each at a rate of its own."""
        rates = self.settings.learning_rate, self.settings.rows_learning_rate
        return bool(self.matrices and self.settings.targets) and rates[0] != rates[1]

    @property
    def is_quantized(self) -> bool:
        """Whether frozen layers are in 4 bits, which trainers allow beside adapters only."""
        return self.settings.quantize == "nf4" and bool(self.settings.targets)

    @property
    def targets(self) -> list[str] | None:
        """Layers with adapters, None for all that are linear."""
        return None if "all-linear" in self.settings.targets else list(self.settings.targets)


def _job(model: Path, settings: Settings, data: Mapping[str, Sequence[str]], output: Path | None) -> Job:
    config = read_json(model / CONFIG)
    matrices, tied = _matrices(model, config, settings)
    own = next((config[name] for name in ("dtype", "torch_dtype") if config.get(name)), "float32")
    return Job(
        str(model),
        str(output or f"{model.resolve().name}-{settings.stage}"),
        settings,
        tuple(_texts(data)),
        _record(data) if settings.stage == "instruct" else frozenset(),
        _template(model, settings.template),
        settings.dtype if settings.dtype != "auto" else own if own in DTYPES else "float32",
        matrices,
        tied,
        _new_rows(model, config) if settings.rows == "new" else None,
        "num_local_experts" in config,
    )


def _matrices(model: Path, config: dict[str, Any], settings: Settings) -> tuple[tuple[str, ...], bool]:
    """Return the tensors of the vocabulary that train, the tied one once, and whether the model is tied."""
    rows, head, tied = *MATRICES, bool(config.get("tie_word_embeddings"))
    if holds_model(model):
        found = open_checkpoint(model)
        rows, head, tied = found.input.name, found.head.name if found.head else head, found.tied
    if settings.rows == "none":
        return (), tied
    if tied and settings.matrices != "both":
        raise CheckpointError(
            f"the model is tied, its input and its head are one matrix; --matrices {settings.matrices} cannot be"
        )
    chosen = {"input": (rows,), "head": (head,), "both": (rows,) if tied else (rows, head)}
    return chosen[settings.matrices], tied


def _new_rows(model: Path, config: dict[str, Any]) -> range:
    # It needs torch.
    from vocabkit.train.trainee import first_row

    size = next((part["vocab_size"] for part in vocab_sizes(config)), 0)
    new = range(first_row(model, "new"), size)
    if not new:
        raise CheckpointError(
            f"{model}: its manifest says that new rows begin at {new.start:,}, and {CONFIG} has {size:,} rows; "
            f"extend the model again"
        )
    return new


def _texts(data: Mapping[str, Sequence[str]]) -> Iterable[Text]:
    for name, specs in data.items():
        kinds: dict[str, list[str]] = {}
        for file in (file for spec in specs for file in _files(spec)):
            kinds.setdefault(KINDS.get(format_of(Path(file)), "text"), []).append(file)
        for kind, files in kinds.items():
            yield Text(name if len(kinds) == 1 else f"{name}-{kind}", tuple(files), kind)


def _files(spec: str) -> list[str]:
    """Return the files that `spec` names here, or itself where there are none."""
    try:
        return open_corpus([spec], registry=load_plugins()).names
    except VocabkitError:
        return [spec]


def _record(data: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return the fields of the first record, those of an instruction where it cannot be read."""
    specs = [spec for found in data.values() for spec in found]
    try:
        first = next((record for _, _, record in open_corpus(specs, registry=load_plugins()).records()), {})
    except VocabkitError:
        return INSTRUCTION
    return frozenset(first) or INSTRUCTION


def _template(model: Path, name: str) -> str:
    """Return the name of the template, as `chat.template_for` does of a tokenizer."""
    if name == AUTO:
        return "alpaca" if Sidecars.read(model).chat_template is None else CHAT
    if name not in (*TEMPLATES, CHAT):
        raise UnknownNameError("template", name, (*TEMPLATES, CHAT, AUTO))
    return name


# What the trainers have in common


def _numbers(job: Job) -> dict[str, Any]:
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


def _warmup(job: Job, ratio: str) -> dict[str, Any]:
    """Return the warmup in steps where they are known, else as their share under the name `ratio`."""
    steps, share = job.settings.steps, job.settings.warmup
    return {ratio: share} if steps is None else {"warmup_steps": round(share * steps)}


def _whole(number: float) -> float:
    """Return 32 for 32.0, which PEFT and axolotl want of alpha."""
    return int(number) if number == int(number) else number


def _notes(job: Job) -> list[str]:
    """Return what is to be said to every trainer."""
    settings = job.settings
    notes = [
        f"A step is {settings.batch_size} sequences on one device; on N devices divide gradient_accumulation_steps "
        f"by N."
    ]
    if len(job.texts) > 1:
        notes.append("Texts are mixed as they are long; the shares of --mix are not here.")
    if settings.quantize == "nf4" and not job.is_quantized:
        notes.append("Not in 4 bits (--quantize nf4): that needs adapters here.")
    if {"w1", "w2", "w3", "gate"} & set(settings.targets):
        notes.append(
            "Adapters of experts: transformers 5 keeps the experts of a layer in one tensor, to which PEFT from "
            "0.19 on attaches them only with a dropout of 0; the router may be no linear layer. Compare the number "
            "of trained parameters with `vocabkit train ... --dry-run`."
        )
    return notes


def _documents(job: Job, packing: str) -> list[str]:
    """Return how texts are cut, where it is not as the settings say.  packing: what else differs."""
    if job.record:
        return []
    marks = [name for name, is_set in (("--no-bos", job.settings.bos), ("--no-eos", job.settings.eos)) if not is_set]
    lost = f" {' and '.join(marks)} cannot be said." if marks else ""
    return [f"Documents end with EOS, and begin with BOS if the tokenizer adds one.{lost} {packing}"]


def _comment(notes: Iterable[str]) -> str:
    lines = (textwrap.fill(note, WIDTH, initial_indent="# - ", subsequent_indent="#   ") for note in notes)
    return "\n".join(lines) + "\n"


def _yaml(config: Mapping[str, Any]) -> str:
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


# LLaMA-Factory.  Source: src/llamafactory/hparams, data/parser.py and model/adapter.py of 0.9.6.dev0.


def _llama_factory(job: Job) -> str:
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
            "lora_alpha": _whole(settings.alpha),
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
    config |= {"output_dir": job.output, "report_to": "none", **_numbers(job), **_warmup(job, "warmup_ratio")}
    config |= {"disable_gradient_checkpointing": not settings.checkpointing, "use_reentrant_gc": False}
    if job.experts:
        config["moe_aux_loss_coef"] = settings.aux_loss
    written = json.dumps(info, ensure_ascii=False, indent=1).replace("\n", "\n# ")
    return (
        f"# For `llamafactory-cli train FILE`; names of options are those of LLaMA-Factory 0.9.6.\n"
        f"{_comment([*_notes(job), *_llama_factory_notes(job)])}"
        f"# - Save this as dataset_info.json in the folder that dataset_dir names:\n# {written}\n\n{_yaml(config)}"
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
            f"LLaMA-Factory has no option for some rows of a matrix: every row trains, and not {_span(job.new)} "
            f"alone. Old tokens will change; axolotl and trl can leave them as they are."
        )
    if job.matrices and job.tied and settings.targets:
        notes.append(
            "The model is tied. additional_target trains a copy of its input alone, which becomes the head when the "
            "adapter is merged: evaluate after that. axolotl and trl keep both one while they train."
        )
    if job.has_two_rates:
        notes.append(
            f"One learning rate for all: rows train with that of adapters, and not with {settings.rows_learning_rate}."
        )
    notes.append(f"Weights are loaded in the checkpoint's own type; bf16 and fp16 say how products are computed "
                 f"({job.dtype}).")  # fmt: skip
    notes += _documents(job, "The last block is left out unless it is full.")
    if job.record and job.template == "alpaca":
        notes.append("Its template alpaca breaks the line after `### Response:`, where ours has a space.")
    if job.record and job.template == CHAT:
        notes.append("No template is named, so it is read off the tokenizer's own; look at the example it prints.")
    files = [file for text in job.texts for file in text.files]
    unknown = next((file for file in files if not file.endswith(SUFFIXES)), None)
    if unknown:
        notes.append(f"LLaMA-Factory opens {', '.join(SUFFIXES)}; write {unknown} as one of them.")
    return notes


def _span(rows: range) -> str:
    return f"rows {rows.start} to {rows.stop - 1}"


# axolotl.  Source: src/axolotl/utils/schemas, loaders/adapter.py, utils/freeze.py and core/trainers of 0.18.0.


def _axolotl(job: Job) -> str:
    settings = job.settings
    config: dict[str, Any] = {"base_model": job.model}
    ids = ""
    if settings.targets:
        config |= {
            **({"adapter": "qlora", "load_in_4bit": True} if job.is_quantized else {"adapter": "lora"}),
            "lora_r": settings.rank,
            "lora_alpha": _whole(settings.alpha),
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
    config |= {AXOLOTL_NAMES.get(name, name): value for name, value in _numbers(job).items()}
    config |= _warmup(job, "warmup_ratio")
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
        f"{_comment([*_notes(job), *_axolotl_notes(job)])}\n{_yaml(config)}{ids}"
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
        notes.append(f"peft_trainable_token_indices: of the vocabulary, {_span(job.new)} alone train.")
    elif job.new is not None:
        notes.append(
            f"unfrozen_parameters: {_span(job.new)} alone train. Gradients of the others are set to zero, so the "
            f"optimizer takes memory for whole matrices."
        )
    if job.matrices and settings.weight_decay:
        notes.append("Rows have no weight decay, as embedding_lr is given; adapters have.")
    notes += _documents(job, "They are packed whole where they fit, and do not see each other.")
    if job.record and job.template != CHAT and "instruction" not in job.record:
        notes.append(
            f"Prompts like --template {job.template} are for instructions with an output. These are conversations, "
            f"for which the tokenizer needs a chat template."
        )
    if job.record and job.template == CHAT and "instruction" in job.record:
        notes.append("A chat template is for conversations: write these instructions as `messages` first.")
    return notes


# TRL.  Source: trl/trainer/sft_config.py and sft_trainer.py of 1.9, peft/tuners of 0.21.


def _trl(job: Job) -> str:
    settings = job.settings
    how: dict[str, Any] = {"output_dir": job.output, "max_length": settings.block_size}
    if job.record:
        how["completion_only_loss"] = True
    else:
        how |= {"packing": True, "packing_strategy": "wrapped"}
    # TRL's own loss reads the head's weight without what is trained of it.
    how |= {"loss_type": "nll", "report_to": "none", **_numbers(job), **_warmup(job, "warmup_steps")}
    how["gradient_checkpointing"] = settings.checkpointing
    how |= {"gradient_checkpointing_kwargs": {"use_reentrant": False}} if settings.checkpointing else {}
    how |= {"router_aux_loss_coef": settings.aux_loss} if job.experts else {}
    given = {"model": "model", "args": "settings", "train_dataset": "data", "processing_class": "tokenizer"}
    parts = [
        f"# Needs trl, peft and datasets; names of options are those of TRL 1.9 and PEFT 0.21.\n"
        f"{_comment([*_notes(job), *_trl_notes(job)])}\n{_imports(job)}",
        f"MODEL = {job.model!r}",
        *([f"NEW_ROWS = list(range({job.new.start}, {job.new.stop}))"] if job.new is not None else []),
        "",
        "tokenizer = AutoTokenizer.from_pretrained(MODEL)",
        _loaded(job),
        _trained(job),
        "",
        _prepared(job),
        "",
        _call("settings = SFTConfig", how),
    ]
    if job.has_two_rates:
        parts += ["", _optimizer(settings)]
        given["optimizers"] = "(optimizer, None)"
    arguments = ", ".join(f"{name}={value}" for name, value in given.items())
    return "\n".join([*parts, f"trainer = SFTTrainer({arguments})", _END])


_END = """\
# What trains is kept in float32.
for parameter in trainer.model.parameters():
    if parameter.requires_grad:
        parameter.data = parameter.data.float()
trainer.train()
trainer.save_model()
"""


def _imports(job: Job) -> str:
    wrapper = "LoraConfig" if job.settings.targets else "TrainableTokensConfig" if job.new is not None else ""
    bits = ", BitsAndBytesConfig" if job.is_quantized else ""
    lines = [
        "import torch",
        "from datasets import concatenate_datasets, load_dataset",
        f"from peft import {wrapper}, get_peft_model" if wrapper else "",
        f"from transformers import AutoModelForCausalLM, AutoTokenizer{bits}",
        "from trl import SFTConfig, SFTTrainer",
    ]
    return "\n".join(filter(None, lines)) + "\n"


def _loaded(job: Job) -> str:
    if not job.is_quantized:
        return f"model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.{job.dtype})"
    bits = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    return (
        _call("bits = BitsAndBytesConfig", bits, bnb_4bit_compute_dtype=f"torch.{job.dtype}") + "\n"
        f"model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.{job.dtype}, quantization_config=bits)"
    )


def _trained(job: Job) -> str:
    """Return the lines that say what trains."""
    settings = job.settings
    if settings.targets:
        how: dict[str, Any] = {
            "task_type": "CAUSAL_LM", "r": settings.rank, "lora_alpha": _whole(settings.alpha),
            "lora_dropout": settings.dropout, "target_modules": job.targets or "all-linear",
        }  # fmt: skip
        if job.new is not None:
            rows = ", ".join(f"{name!r}: NEW_ROWS" for name in job.modules)
            made = _call("adapters = LoraConfig", how, trainable_token_indices=f"{{{rows}}}")
        else:
            how |= {"modules_to_save": job.modules} if job.matrices else {}
            how |= {"ensure_weight_tying": True} if job.matrices and job.tied else {}
            made = _call("adapters = LoraConfig", how)
        return f"{made}\nmodel = get_peft_model(model, adapters)"
    if job.new is not None:
        how = {"task_type": "CAUSAL_LM", "target_modules": job.modules}
        made = _call("rows = TrainableTokensConfig", how, token_indices="NEW_ROWS")
        return f"{made}\nmodel = get_peft_model(model, rows)"
    wanted = {"input": ["input"], "head": ["output"], "both": ["input"] if job.tied else ["input", "output"]}
    lines = [f"model.get_{name}_embeddings().requires_grad_(True)" for name in wanted[settings.matrices]]
    return "\n".join(["model.requires_grad_(False)", *lines])


def _prepared(job: Job) -> str:
    """Return the lines that make the texts, or the ids of instructions."""
    loaded = [
        f"    load_dataset({text.kind!r}, data_files={list(text.files)!r}, split='train')," for text in job.texts
    ]
    made = "text.map(example, remove_columns=text.column_names)" if job.record else "text.select_columns('text')"
    lines = ["texts = [", *loaded, "]", f"data = concatenate_datasets([{made} for text in texts])"]
    return "\n".join([*([_examples(job), "", ""] if job.record else []), *lines])


def _examples(job: Job) -> str:
    """Return the functions that make an example of a record."""
    if "instruction" in job.record:
        messages = _INSTRUCTION
    elif "messages" in job.record:
        messages = "def messages(record):\n    return record['messages']"
    else:
        turn = "{'role': ROLES[turn['from']], 'content': turn['value']}"
        messages = (
            f"ROLES = {ROLES!r}\n\n\ndef messages(record):\n    return [{turn} for turn in record['conversations']]"
        )
    if job.template == CHAT:
        return f"{messages}\n\n\n{_CHAT}"
    bos = "tokenizer.bos_token_id" if job.settings.bos else "None"
    eos = "tokenizer.eos_token_id" if job.settings.eos else "None"
    return f"PROMPT = {TEMPLATES[job.template]!r}\nBOS, EOS = {bos}, {eos}\n\n\n{messages}\n\n\n{_FIXED}"


_INSTRUCTION = """\
def messages(record):
    instruction, more = record['instruction'], record.get('input')
    return [
        {'role': 'user', 'content': f'{instruction}\\n{more}' if more else instruction},
        {'role': 'assistant', 'content': record['output']},
    ]"""

_CHAT = """\
def example(record):
    *prompt, completion = messages(record)
    return {'prompt': prompt, 'completion': [completion]}"""

_FIXED = """\
def example(record):
    ids, learned, system = [], [], ''
    for message in messages(record):
        text, is_response = message['content'], message['role'] == 'assistant'
        if message['role'] == 'system':
            system = f'{text}\\n\\n'
            continue
        if not is_response:
            text, system = PROMPT.replace('{instruction}', system + text), ''
        part = tokenizer(text, add_special_tokens=False)['input_ids']
        part = [*part, EOS] if is_response else [BOS, *part]
        part = [one for one in part if one is not None]
        ids += part
        learned += [int(is_response)] * len(part)
    return {'input_ids': ids, 'completion_mask': learned}"""


def _optimizer(settings: Settings) -> str:
    groups = f"""\
trained = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
groups = [
    {{'params': [one for name, one in trained if 'lora_' in name], 'lr': {settings.learning_rate!r}}},
    {{'params': [one for name, one in trained if 'lora_' not in name], 'lr': {settings.rows_learning_rate!r}}},
]
"""
    how = {"betas": (settings.beta1, settings.beta2), "eps": settings.epsilon, "weight_decay": settings.weight_decay}
    return groups + _call("optimizer = torch.optim.AdamW", how, params="groups")


def _call(head: str, given: Mapping[str, Any], **code: str) -> str:
    """Return a call of keyword arguments, a line each.  code: those that are Python already."""
    arguments = [*(f"{name}={value!r}" for name, value in given.items()), *(f"{n}={c}" for n, c in code.items())]
    return "\n".join([f"{head}(", *(f"    {argument}," for argument in arguments), ")"])


def _trl_notes(job: Job) -> list[str]:
    notes = []
    if job.new is not None:
        option = "trainable_token_indices" if job.settings.targets else "TrainableTokensConfig"
        notes.append(f"PEFT's {option}: of the vocabulary, {_span(job.new)} alone train.")
    if job.settings.steps is None:
        notes.append("A warmup_steps below 1 is a share of the steps from transformers 5 on; before, write steps.")
    notes += _documents(job, "Blocks are cut as vocabkit cuts them, and documents in one see each other.")
    if job.record and job.template == CHAT:
        notes.append("Of a conversation, the last response is learned; vocabkit learns each.")
    return notes


TRAINERS: dict[str, Callable[[Job], str]] = {"llama-factory": _llama_factory, "axolotl": _axolotl, "trl": _trl}
