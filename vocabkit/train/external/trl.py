"""A run for TRL, as a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vocabkit.model.chat import CHAT, TEMPLATES
from vocabkit.train.chat import ROLES
from vocabkit.train.external.common import about_documents, comment, common_notes, common_numbers, warmup, whole
from vocabkit.train.external.job import Job
from vocabkit.train.external.llama_factory import span
from vocabkit.train.settings import Settings

# TRL.  Source: trl/trainer/sft_config.py and sft_trainer.py of 1.9, peft/tuners of 0.21.


def trl(job: Job) -> str:
    settings = job.settings
    how: dict[str, Any] = {"output_dir": job.output, "max_length": settings.block_size}
    if job.record:
        how["completion_only_loss"] = True
    else:
        how |= {"packing": True, "packing_strategy": "wrapped"}
    # TRL's own loss reads the head's weight without what is trained of it.
    how |= {"loss_type": "nll", "report_to": "none", **common_numbers(job), **warmup(job, "warmup_steps")}
    how["gradient_checkpointing"] = settings.checkpointing
    how |= {"gradient_checkpointing_kwargs": {"use_reentrant": False}} if settings.checkpointing else {}
    how |= {"router_aux_loss_coef": settings.aux_loss} if job.experts else {}
    given = {"model": "model", "args": "settings", "train_dataset": "data", "processing_class": "tokenizer"}
    parts = [
        f"# Needs trl, peft and datasets; names of options are those of TRL 1.9 and PEFT 0.21.\n"
        f"{comment([*common_notes(job, is_quantized=_has_bits(job)), *_trl_notes(job)])}\n{_imports(job)}",
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
    bits = ", BitsAndBytesConfig" if _has_bits(job) else ""
    lines = [
        "import torch",
        "from datasets import concatenate_datasets, load_dataset",
        f"from peft import {wrapper}, get_peft_model" if wrapper else "",
        f"from transformers import AutoModelForCausalLM, AutoTokenizer{bits}",
        "from trl import SFTConfig, SFTTrainer",
    ]
    return "\n".join(filter(None, lines)) + "\n"


def _has_bits(job: Job) -> bool:
    """Whether frozen layers are in 4 bits: PEFT trains rows beside them, but transformers no whole matrices."""
    return job.is_quantized or (job.settings.quantize == "nf4" and job.new is not None)


def _loaded(job: Job) -> str:
    if not _has_bits(job):
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
            "task_type": "CAUSAL_LM", "r": settings.rank, "lora_alpha": whole(settings.alpha),
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
        notes.append(f"PEFT's {option}: of the vocabulary, {span(job.new)} alone train.")
    if job.settings.steps is None:
        notes.append("A warmup_steps below 1 is a share of the steps from transformers 5 on; before, write steps.")
    if not job.record or job.template == CHAT:
        notes += about_documents(job, "Documents end with EOS, and begin with BOS if the tokenizer adds one.")
    if job.record and job.template == CHAT:
        notes.append("Of a conversation, the last response is learned; vocabkit learns each.")
    return notes
