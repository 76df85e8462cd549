"""A run as an adapter that plain PEFT reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vocabkit.errors import VocabkitError
from vocabkit.files import whole_folder
from vocabkit.manifest import write_manifest
from vocabkit.model.trained import Trained
from vocabkit.rows.architectures import HEADS
from vocabkit.rows.checkpoint import Checkpoint, RowTensor, open_checkpoint
from vocabkit.train.fuse import DTYPES
from vocabkit.train.settings import Settings

FORMS = ("modules-to-save", "trainable-tokens")
PREFIX = "base_model.model."
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def export(trained: Trained, base: Path, output: Path, form: str, *, force: bool = False) -> None:
    """Write what a run learned as a PEFT adapter for `base` into the folder `output`, whole or not at all.

    form: "modules-to-save" writes whole vocabulary matrices, as the published adapters do; "trainable-tokens" the
    rows that trained alone.  Read back with `PeftModel.from_pretrained(model, output)`.
    Raises VocabkitError for adapters of experts, for which PEFT has no such form.
    """
    checkpoint = open_checkpoint(base)
    settings = Settings.from_json(trained.settings)
    tensors: dict[str, Tensor] = {}
    for layer, (a, b) in trained.adapters.items():
        if a.dim() != 2 or layer.endswith(".gate"):
            raise VocabkitError(
                f"{layer} adapts experts, for which PEFT has no form; use `vocabkit fuse` without --peft"
            )
        tensors[f"{PREFIX}{layer}.lora_A.weight"] = a
        tensors[f"{PREFIX}{layer}.lora_B.weight"] = b
    rows = _rows(trained, checkpoint)
    config: dict[str, Any] = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(base), "r": settings.rank,
        "lora_alpha": settings.alpha, "lora_dropout": settings.dropout, "bias": "none", "inference_mode": True,
        "fan_in_fan_out": False, "init_lora_weights": True,
        # Names as they are: a pattern might match more.
        "target_modules": sorted(trained.adapters),
    }  # fmt: skip
    if rows and form == "modules-to-save":
        config["modules_to_save"] = sorted(
            tensor.name.removesuffix(".weight").rpartition(".")[2] for tensor, _ in rows
        )
        for tensor, new in rows:
            tensors[f"{PREFIX}{tensor.name}"] = _whole(tensor, new)
        if checkpoint.tied:
            # PEFT saves modules, not matrices: a tied one is two of them.
            config["modules_to_save"].append(HEADS[0].removesuffix(".weight"))
            tensors[f"{PREFIX}{HEADS[0]}"] = tensors[f"{PREFIX}{checkpoint.input.name}"]
        if not trained.adapters:
            layer, adapter = _nothing(checkpoint)
            config |= {"target_modules": [layer], "r": 1}
            tensors |= {f"{PREFIX}{layer}.{name}.weight": value for name, value in adapter.items()}
    elif rows:
        first = checkpoint.rows - len(rows[0][1])
        indices = list(range(first, checkpoint.rows))
        names = [tensor.name.removesuffix(".weight") for tensor, _ in rows]
        config["trainable_token_indices"] = {name.rpartition(".")[2]: indices for name in names}
        # Beside adapters it is a part of LoRA, alone a method of its own.
        part = ".token_adapter" if trained.adapters else ""
        for name, (_, new) in zip(names, rows, strict=True):
            tensors[f"{PREFIX}{name}{part}.trainable_tokens_delta"] = new
        if not trained.adapters:
            if checkpoint.tied:
                head = HEADS[0].removesuffix(".weight")
                tensors[f"{PREFIX}{head}.trainable_tokens_delta"] = rows[0][1]
            kept = {name: config[name] for name in ("task_type", "base_model_name_or_path", "inference_mode")}
            targets = sorted(config["trainable_token_indices"])
            config = {**kept, "peft_type": "TRAINABLE_TOKENS", "token_indices": indices, "target_modules": targets}
    from safetensors.torch import save_file

    with whole_folder(output, force=force) as folder:
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        write_manifest(folder, "fuse --peft", arguments={"form": form, "step": trained.saved.step}, inputs=[])


def _rows(trained: Trained, checkpoint: Checkpoint) -> list[tuple[RowTensor, Tensor]]:
    found = []
    if "rows.input" in trained.tensors:
        found.append((checkpoint.input, trained.tensors["rows.input"]))
    if "rows.head" in trained.tensors and checkpoint.head is not None:
        found.append((checkpoint.head, trained.tensors["rows.head"]))
    return found


def _whole(tensor: RowTensor, new: Tensor) -> Tensor:
    """Return a matrix with its last rows replaced."""
    import numpy as np

    old = torch.from_numpy(np.array(tensor.values).view(np.uint8)).view(DTYPES[tensor.tensor.dtype])
    return torch.cat([old.view(tensor.tensor.shape)[: len(old) - len(new)], new.to(old.dtype)])


def _nothing(checkpoint: Checkpoint) -> tuple[str, dict[str, Tensor]]:
    """Return a layer and an adapter of zeros for it: PEFT refuses modules to save without any."""
    rows = {tensor.name for tensor in checkpoint.row_tensors}
    for header in checkpoint.shards.values():
        for name, tensor in header.tensors.items():
            if name not in rows and len(tensor.shape) == 2 and name.endswith("proj.weight"):
                height, width = tensor.shape
                return name.removesuffix(".weight"), {
                    "lora_A": torch.zeros(1, width),
                    "lora_B": torch.zeros(height, 1),
                }
    raise VocabkitError(f"{checkpoint.folder} has no layer for PEFT to adapt; use --peft trainable-tokens")
