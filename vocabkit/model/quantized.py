"""Checkpoints in 4 and 8 bits, in bitsandbytes' layout, read without bitsandbytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vocabkit_kernels import Int8Weight, NF4Weight
from vocabkit_kernels.int8 import GREATEST
from vocabkit_kernels.nf4 import STATE_KEY

from vocabkit.errors import CheckpointError
from vocabkit.model.experts import split_experts
from vocabkit.model.linears import HEAD_FORM, PackedLinear, linear_layers, packed, replace_layers
from vocabkit.model.names import on_disk
from vocabkit.rows.checkpoint import CONFIG, open_checkpoint, read_json

# Beside the weight of a layer in LLM.int8: each row's greatest absolute value, and the order of its values.
INT8_SCALE, INT8_ORDER = "SCB", "weight_format"
# A matrix of one expert, in a file where each has its own.
EXPERT_STORED = re.compile(r"\.experts\.0\.\w+\.weight$")


def is_quantized(folder: Path) -> bool:
    """Whether a model's config says that its weights are in few bits."""
    return bool(read_json(folder / CONFIG).get("quantization_config"))


def is_nf4(folder: Path) -> bool:
    """Whether a model's config says that its weights are in 4 bits."""
    said = read_json(folder / CONFIG).get("quantization_config") if (folder / CONFIG).is_file() else None
    return bool(said and said.get("load_in_4bit"))


def load_quantized(folder: Path, device: str, dtype: str, form: str | None = None) -> Any:
    """Return the model of a checkpoint that `vocabkit quantize`, or bitsandbytes, wrote.

    dtype: of everything that is not quantised; "auto" is what the config says.  form: hold layers in this instead.
    Raises CheckpointError for another method than bitsandbytes' NF4 and int8, and for tensors that are missing.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    _check_method(folder, config.quantization_config)
    del config.quantization_config
    tensors, model = _Tensors(folder), _on_meta(config, dtype)
    _split(model, tensors)
    return _filled(model, tensors, device, form)


def load_packed(folder: Path, device: str, dtype: str, form: str) -> Any:
    """Return the model of a plain checkpoint with its linear layers in `form`, packed one by one as they are read.

    The whole of it is never in memory.  None where its tensors have other names in memory than on disk.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    tensors, model = _Tensors(folder), _on_meta(config, dtype)
    _split(model, tensors)
    tied = {f"{name}.weight" for name, module in model.named_modules() if module is model.get_output_embeddings()}
    missing = {name for name, _ in model.named_parameters() if on_disk(name, tensors.shards) is None}
    if missing - (tied if config.get_text_config().tie_word_embeddings else set()):
        return None
    return _filled(model, tensors, device, form)


def _on_meta(config: Any, dtype: str) -> Any:
    """Return a model without weights."""
    import transformers

    kind = config.dtype or torch.float32 if dtype == "auto" else getattr(torch, dtype)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=kind)


def _split(model: Any, tensors: _Tensors) -> None:
    """Make layers of a model's experts where they are stored as such."""
    if any(EXPERT_STORED.search(name) for name in tensors.shards):
        split_experts(model)


def _filled(model: Any, tensors: _Tensors, device: str, form: str | None) -> Any:
    kind = model.dtype
    head = model.get_output_embeddings()
    rows = next(name for name, module in model.named_modules() if module is model.get_input_embeddings())

    def made(name: str, module: nn.Module) -> nn.Module | None:
        # A tied head is in no file of its own.
        own = on_disk(f"{name}.weight", tensors.shards)
        stored = own or (f"{rows}.weight" if module is head else f"{name}.weight")
        weight: Any = tensors.packed(stored, device)
        wanted = HEAD_FORM if form and module is head else form
        if wanted and not isinstance(weight, Int8Weight):
            weight = packed(tensors.get(stored, device) if weight is None else weight, wanted)
        if weight is None:
            return None
        bias = tensors.get(f"{name}.bias", device) if f"{name}.bias" in tensors.shards else None
        return PackedLinear(weight, None if bias is None else bias.to(kind))

    with torch.no_grad():
        replace_layers(model, made)
        _fill(model, tensors, device, kind)
    return model


def _check_method(folder: Path, said: Any) -> None:
    said = said if isinstance(said, dict) else said.to_dict()
    method, is_4bit = said.get("quant_method"), bool(said.get("load_in_4bit") or said.get("_load_in_4bit"))
    is_8bit = bool(said.get("load_in_8bit") or said.get("_load_in_8bit"))
    if method != "bitsandbytes" or not (is_8bit or (is_4bit and said.get("bnb_4bit_quant_type") == "nf4")):
        kind = f"{method} {said.get('bnb_4bit_quant_type')}" if is_4bit else str(method)
        raise CheckpointError(
            f"{folder} is quantised by {kind}, and only bitsandbytes' NF4 and int8 can be read here; "
            f"use the model it was made from"
        )


class _Tensors:
    """The tensors of a model folder, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        headers = open_checkpoint(folder).shards.values()
        self.shards = {name: header.path for header in headers for name in header.tensors}
        self._files: dict[Path, Any] = {}

    def get(self, name: str, device: str) -> Tensor:
        from safetensors import safe_open

        path = self.shards[name]
        if path not in self._files:
            self._files[path] = safe_open(path, framework="pt")
        found: Tensor = self._files[path].get_tensor(name).to(device)
        return found

    def packed(self, name: str, device: str) -> NF4Weight | Int8Weight | None:
        """Return a weight in few bits; None where it is not stored so."""
        path, _, _ = name.rpartition(".")
        if f"{name}.{STATE_KEY}" in self.shards:
            parts = {one: self.get(one, device) for one in self.shards if one == name or one.startswith(f"{name}.")}
            return NF4Weight.from_state_dict(parts, name)
        if f"{path}.{INT8_SCALE}" in self.shards:
            scale = self.get(f"{path}.{INT8_SCALE}", device).float() / GREATEST
            return Int8Weight(self.get(name, device), scale)
        return None


def _fill(model: Any, tensors: _Tensors, device: str, dtype: torch.dtype) -> None:
    """Put every tensor in its place that is stored as it is, and make what is in no file."""
    folder = tensors.folder
    for name, parameter in list(model.named_parameters()):
        stored = on_disk(name, tensors.shards)
        if stored is None:
            continue
        value = tensors.get(stored, device)
        parent, _, last = name.rpartition(".")
        module = model.get_submodule(parent)
        if value.shape != parameter.shape:
            raise CheckpointError(
                f"{folder}: {stored} is {list(value.shape)}, and the config wants {list(parameter.shape)}"
            )
        setattr(module, last, nn.Parameter(value.to(dtype), requires_grad=False))
    model.tie_weights()
    for name, module in list(model.named_modules()):
        if any(buffer.is_meta for buffer in module.buffers(recurse=False)):
            # Rotary frequencies follow from the config.
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, type(module)(config=model.config).to(device))
    few = {name for name, module in linear_layers(model).items() if isinstance(module, PackedLinear)}
    missing = sorted(name for name, value in model.named_parameters() if value.is_meta)
    if missing or not few:
        raise CheckpointError(
            f"{folder}: "
            + (f"{missing[0]} is in no file" if missing else "no layer is stored in few bits")
            + "; quantise the model again"
        )
