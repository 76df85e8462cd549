"""Models of random weights, with real tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SHAPE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip


def tiny(folder: Path, tokenizer: Path, *, tied: bool, **more: Any) -> Path:
    """Write a model of random weights with a real tokenizer."""
    import torch
    import transformers

    kind = more.pop("model_type", "llama")
    shape = {**SHAPE, "vocab_size": 49152, "tie_word_embeddings": tied, **more}
    config = transformers.AutoConfig.for_model(kind, **shape)
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for path in tokenizer.iterdir():
        if path.name.startswith("tokenizer"):
            (folder / path.name).write_bytes(path.read_bytes())
    return folder
