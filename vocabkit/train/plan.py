"""What a run would train and how much memory it would take, without a single weight."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vocabkit.errors import CheckpointError
from vocabkit.model.load import has_gpu
from vocabkit.rows.checkpoint import CONFIG
from vocabkit.train.settings import Settings
from vocabkit.train.trainee import Trainee, first_row

# bitsandbytes' nested NF4: half a byte, and an 8-bit absmax of every 64 values with its own of every 256.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}
CHUNK_BYTES = 256 << 20


@dataclass(frozen=True)
class Part:
    """Parameters of one kind, and how many of them train."""

    name: str
    parameters: int
    trained: int


@dataclass(frozen=True)
class Plan:
    """What a run would train.  parameters: adapters included.  memory: bytes of each use, of one process alone."""

    parameters: int
    trained: int
    parts: list[Part]
    memory: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "parameters": self.parameters,
            "trained": self.trained,
            "trained_share": self.trained / self.parameters,
            "parts": [asdict(part) for part in self.parts],
            "memory_bytes": self.memory,
        }


def plan(folder: Path, settings: Settings) -> Plan:
    """Return what training the model of `folder` by `settings` takes; only its config.json is read.

    Raises CheckpointError for a config that transformers does not know.
    """
    trainee = _on_meta(folder, settings)
    groups: dict[str, list[tuple[nn.Module | None, torch.Tensor]]] = {}
    seen: set[int] = set()
    for name, tensor in [*trainee.named_parameters(), *trainee.named_buffers()]:
        # A tied matrix is found under two names.
        if id(tensor) not in seen and not name.endswith(("inv_freq", "embed_scale")):
            seen.add(id(tensor))
            groups.setdefault(_kind(name, trainee), []).append((None, tensor))
    parts = []
    for kind, tensors in groups.items():
        counts = [(t.numel() * (2 if t.dtype == torch.uint8 else 1), t.requires_grad) for _, t in tensors]
        parts.append(Part(kind, sum(n for n, _ in counts), sum(n for n, trains in counts if trains)))
    total, trained = sum(part.parameters for part in parts), sum(part.trained for part in parts)
    memory = _memory(trainee, settings, parts)
    return Plan(total, trained, parts, memory)


def _on_meta(folder: Path, settings: Settings) -> Trainee:
    import transformers

    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder / CONFIG} does not exist; name a model folder")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
            rows = model.get_input_embeddings().weight.shape[0]
            first = rows if settings.rows == "none" else first_row(folder, settings.rows)
            return Trainee(model, settings, first)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"transformers cannot make a model of {folder / CONFIG}: {reason}") from error


def _kind(name: str, trainee: Trainee) -> str:
    if name.startswith(("rows.", "head_rows.")) or ".rows." in name:
        where = "input" if name.startswith("rows.") or trainee.is_tied else "head"
        age = "frozen rows" if ".old" in name else "rows that may train"
        return f"{age}, {'input and head' if trainee.is_tied else where}"
    if ".adapter" in name:
        return "adapters"
    return "body"


def _memory(trainee: Trainee, settings: Settings, parts: list[Part]) -> dict[str, int]:
    """Return an estimate of the bytes that each use takes; activations are a rule of thumb, the rest is counted."""
    config = trainee.model.config.get_text_config()
    dtype = settings.dtype if settings.dtype != "auto" else "float32" if not has_gpu() else str(config.dtype)[6:]
    size = SIZES.get(dtype, 4)
    adapters = sum(part.trained for part in parts if part.name == "adapters")
    rows = sum(part.trained for part in parts if part.name != "adapters")
    packed = sum(2 * b.numel() for b in trainee.buffers() if b.dtype == torch.uint8)
    frozen = sum(part.parameters for part in parts) - adapters - rows - packed
    # float32 moments of everything, and a float32 copy of 16-bit rows.
    state = 8 * (adapters + rows) + (4 * rows if size < 4 else 0)
    places = settings.micro_batch * settings.block_size
    inner = getattr(config, "intermediate_size", 4 * config.hidden_size)
    # Inputs of each product of a layer and of its norms and attention; only a layer's input when it is recomputed.
    layer = places * (10 * config.hidden_size + 4 * inner) * size
    layers = config.num_hidden_layers
    kept = layers * places * config.hidden_size * size + layer if settings.checkpointing else layers * layer
    return {
        "frozen weights": int(frozen * size + packed * NF4_BYTES),
        "trained weights": 4 * adapters + size * rows,
        "gradients": 4 * adapters + size * rows,
        "optimizer": state,
        "activations": kept,
        "logits, in chunks": CHUNK_BYTES,
    }
