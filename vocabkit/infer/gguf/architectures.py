"""What a config.json is in GGUF: the kinds of models that can be written, and the keys of their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import CheckpointError

Value = bool | int | float | str


@dataclass(frozen=True)
class Architecture:
    """How llama.cpp sees a kind of model.

    name: `general.architecture`.
    interleaves: it rotates neighbouring values of a query or key, where transformers pairs one half with the other.
    """

    name: str
    interleaves: bool


# By `model_type` of config.json.
ARCHITECTURES = {
    "llama": Architecture("llama", interleaves=True),
    "mistral": Architecture("llama", interleaves=True),
    "mixtral": Architecture("llama", interleaves=True),
    "qwen2": Architecture("qwen2", interleaves=False),
    "qwen3": Architecture("qwen3", interleaves=False),
}
# Key in GGUF, below the architecture's name -> key in config.json.
INTEGERS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok",
}
NEEDED = tuple(INTEGERS.values())[:5]
YARN = {
    "extrapolation_factor": "yarn_ext_factor",
    "attention_factor": "yarn_attn_factor",
    "beta_fast": "yarn_beta_fast",
    "beta_slow": "yarn_beta_slow",
}


def architecture_of(config: Mapping[str, Any], folder: Path) -> Architecture:
    """Return how llama.cpp sees the model in `folder`; raises CheckpointError when it cannot be written here."""
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise CheckpointError(
            f"{folder} is a model of type {kind!r}, and GGUF is written of {', '.join(ARCHITECTURES)}; "
            f"convert it with convert_hf_to_gguf.py of llama.cpp"
        )
    if config.get("quantization_config"):
        raise CheckpointError(f"{folder} is quantised already; export the model it was made from")
    if config.get("hidden_act", "silu") != "silu":
        raise CheckpointError(
            f"{folder} computes with {config['hidden_act']!r}, llama.cpp with silu; it cannot be run"
        )
    missing = [name for name in NEEDED if not isinstance(config.get(name), int)]
    if missing:
        raise CheckpointError(f"{folder}/config.json does not say {missing[0]}; fetch it again")
    return ARCHITECTURES[str(kind)]


def hyperparameters(config: Mapping[str, Any], rows: int) -> dict[str, Value]:
    """Return a model's numbers by their keys below the architecture's name.  rows: of the vocabulary matrices."""
    values: dict[str, Value] = {key: int(config[name]) for key, name in INTEGERS.items() if config.get(name)}
    values.setdefault("attention.head_count_kv", values["attention.head_count"])
    width = head_width(config)
    values |= {"attention.key_length": width, "attention.value_length": width, "rope.dimension_count": width}
    values["attention.layer_norm_rms_epsilon"] = float(config.get("rms_norm_eps", 1e-6))
    values["vocab_size"] = rows
    return values | _rope_values(config)


def head_width(config: Mapping[str, Any]) -> int:
    """Return how many values a query has in each head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def rope_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return how positions are told: transformers 5 has one entry for all of it, older configs have two."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope.setdefault("rope_theta", config.get("rope_theta", 10_000.0))
    rope["rope_type"] = rope.get("rope_type") or rope.get("type") or "default"
    rope.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
    return rope


def rope_factors(config: Mapping[str, Any]) -> NDArray[np.float32] | None:
    """Return by what each rotary frequency is divided, [head width / 2], for Llama 3.1's scaling; None for others.

    Short waves stay, long ones are stretched by `factor`, and those between are blended.
    Source: "llama3" in transformers/modeling_rope_utils.py.
    """
    rope = rope_of(config)
    if rope["rope_type"] != "llama3":
        return None
    width = head_width(config)
    lengths = 2 * math.pi * float(rope["rope_theta"]) ** (np.arange(0, width, 2, dtype=np.float64) / width)
    factor, low, high = (float(rope[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    turns = float(rope["original_max_position_embeddings"]) / lengths
    share = np.clip((turns - low) / (high - low), 0, 1)
    factors: NDArray[np.float32] = (1 / ((1 - share) / factor + share)).astype(np.float32)
    return factors


def differences(config: Mapping[str, Any]) -> list[str]:
    """Return what llama.cpp computes otherwise than transformers does."""
    window = config.get("sliding_window")
    if not window or config.get("use_sliding_window") is False or window >= config["max_position_embeddings"]:
        return []
    return [f"llama.cpp attends to the whole text, the model to its last {window:,} tokens: they differ beyond those"]


def _rope_values(config: Mapping[str, Any]) -> dict[str, Value]:
    rope = rope_of(config)
    values: dict[str, Value] = {"rope.freq_base": float(rope["rope_theta"])}
    kind = rope["rope_type"]
    if kind in ("linear", "yarn"):
        values |= {"rope.scaling.type": kind, "rope.scaling.factor": float(rope["factor"])}
    if kind == "yarn":
        values["rope.scaling.original_context_length"] = int(rope["original_max_position_embeddings"])
        values |= {
            f"rope.scaling.{key}": float(rope[name]) for name, key in YARN.items() if rope.get(name) is not None
        }
    if kind not in ("default", "llama3", "linear", "yarn"):
        raise CheckpointError(f"positions are scaled by {kind!r}, which is not written; use convert_hf_to_gguf.py")
    return values
