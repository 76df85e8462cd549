"""What an extension costs and saves, from a model's shape: first-order arithmetic without attention scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vocabkit.errors import CheckpointError, UnknownNameError

BYTES = 2  # a weight, a key or a value in bfloat16
# AdamW in mixed precision: float32 master, two moments, gradient (arXiv 1910.02054, section 3.1).
TRAINING_BYTES = 16
# Of a parameter and a token: forward 2, backward 4 (arXiv 2001.08361).
TRAINING_FLOPS, FORWARD_FLOPS = 6, 2
# Of their rows, releases leave this share unused at most: Qwen2.5-7B has 152,064 for 151,665 tokens.
SPARE = 0.01


@dataclass(frozen=True)
class Shape:
    """A decoder's size.

    experts, used: of a mixture, and how many of them a token runs through.  gated: three MLP matrices, not two.
    """

    width: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    inner: int
    vocabulary: int
    tied: bool
    experts: int = 1
    used: int = 1
    gated: bool = True

    @property
    def body(self) -> int:
        """Parameters without embedding and head."""
        return self._layers(self.experts)

    @property
    def active(self) -> int:
        """Parameters of the body that a token is multiplied by."""
        return self._layers(self.used)

    def _layers(self, experts: int) -> int:
        attention = 2 * self.width * self.head_width * (self.heads + self.key_heads)
        router = self.width * self.experts if self.experts > 1 else 0
        mlp = (3 if self.gated else 2) * self.width * self.inner * experts + router
        return self.layers * (attention + mlp + 2 * self.width) + self.width

    @property
    def copies(self) -> int:
        """Rows that a token has: one in a tied model, two otherwise."""
        return 1 if self.tied else 2

    @property
    def parameters(self) -> int:
        """All parameters: 6,738,415,616 for LLaMA-7B."""
        return self.body + self.copies * self.vocabulary * self.width


def _llama(width: int, layers: int, heads: int, inner: int, vocabulary: int = 32_000, **more: Any) -> Shape:
    found: dict[str, Any] = {"key_heads": heads, "head_width": width // heads, "tied": False, **more}
    return Shape(width, layers, heads, inner=inner, vocabulary=vocabulary, **found)


SHAPES = {
    "llama-7b": _llama(4096, 32, 32, 11008),
    "llama-13b": _llama(5120, 40, 40, 13824),
    "llama-33b": _llama(6656, 60, 52, 17920),
    "mistral-7b": _llama(4096, 32, 32, 14336, key_heads=8),
    "mixtral-8x7b": _llama(4096, 32, 32, 14336, key_heads=8, experts=8, used=2),
    "llama-3-8b": _llama(4096, 32, 32, 14336, 128_256, key_heads=8),
    "llama-3.2-1b": _llama(2048, 16, 32, 8192, 128_256, key_heads=8, tied=True),
    "qwen2.5-7b": _llama(3584, 28, 28, 18944, 152_064, key_heads=4),
    "qwen2.5-0.5b": _llama(896, 24, 14, 4864, 151_936, key_heads=2, tied=True),
    "smollm2-135m": _llama(576, 30, 9, 1536, 49_152, key_heads=3, tied=True),
}


def shape_of(name: str) -> Shape:
    """Return a shape by its name, or from a model's folder or config.json.

    Raises UnknownNameError for a name that is neither in SHAPES nor a path, CheckpointError for a bad config.
    """
    path = Path(name)
    if not path.exists():
        if name in SHAPES:
            return SHAPES[name]
        raise UnknownNameError("model shape", name, SHAPES)
    path = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return shape_of_config(config.get("text_config", config))
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        what = f"lacks {error.args[0]!r}" if isinstance(error, KeyError) else "is no config of a model"
        raise CheckpointError(f"{path} {what}; name another --model-shape: {', '.join(SHAPES)}") from error


def shape_of_config(config: Mapping[str, Any]) -> Shape:
    """Return the shape that a config.json says.  Raises KeyError for a size that it does not name."""

    def either(*names: str) -> int:
        for name in names:
            if config.get(name):
                return int(config[name])
        raise KeyError(names[0])

    width, heads = either("hidden_size", "n_embd"), either("num_attention_heads", "n_head")
    inner = config.get("moe_intermediate_size") or config.get("intermediate_size") or config.get("n_inner")
    experts = config.get("num_local_experts") or config.get("num_experts") or 1
    return Shape(
        width,
        either("num_hidden_layers", "n_layer"),
        heads,
        int(config.get("num_key_value_heads") or heads),
        int(config.get("head_dim") or width // heads),
        int(inner or 4 * width),
        either("vocab_size"),
        bool(config.get("tie_word_embeddings", config.get("model_type") == "gpt2")),
        int(experts),
        int(config.get("num_experts_per_tok") or 1) if experts > 1 else 1,
        # GPT-2 and its like have no gate.
        bool(config.get("intermediate_size")) and config.get("model_type") != "gpt_neox",
    )


def with_rows_of(shape: Shape, rows: int) -> Shape:
    """Return the shape with the rows of a base that needs `rows`: its own, where it has them and few to spare."""
    is_its = rows <= shape.vocabulary <= rows * (1 + SPARE)
    return shape if is_its else replace(shape, vocabulary=rows)


@dataclass(frozen=True)
class Cost:
    """An extended model beside its base.

    compute: FLOPs a character, of those of the base; so much of the bytes that decoding reads, too.
    flops_per_character, kv_bytes_per_character: of the extended model.
    new_parameters: of the new rows.  weight_bytes: theirs in bfloat16.  training_bytes: theirs while they train.
    memory: weights and training state of the new rows with the model, of the model alone.
    net: compute x memory: gigabytes times seconds for a character.
    """

    compute: float
    flops_per_character: float
    kv_bytes_per_character: float
    new_parameters: int
    weight_bytes: int
    training_bytes: int
    memory: float
    net: float

    def to_json(self) -> dict[str, float]:
        """Return it as plain data."""
        return asdict(self)


def cost_of(shape: Shape, rows: int, before: float, after: float) -> Cost:
    """Return what an extension to `rows` vocabulary rows costs.

    before, after: tokens a character of base and extended tokenizer.
    net FLOPs = after / before x (2 P + 2 d V') / (2 P + 2 d V), P the body that a token runs through, d its width.
    """
    new = max(rows - shape.vocabulary, 0) * shape.width * shape.copies

    def flops(vocabulary: int) -> float:
        return FORWARD_FLOPS * (shape.active + shape.width * vocabulary)

    compute = after / before * flops(max(rows, shape.vocabulary)) / flops(shape.vocabulary)
    keys = 2 * shape.layers * shape.key_heads * shape.head_width * BYTES
    model = BYTES * shape.parameters
    memory = (model + (BYTES + TRAINING_BYTES) * new) / model
    return Cost(
        compute,
        after * flops(max(rows, shape.vocabulary)),
        after * keys,
        new,
        BYTES * new,
        TRAINING_BYTES * new,
        memory,
        compute * memory,
    )


def break_even_characters(shape: Shape, rows: int, before: float, after: float, budget_tokens: float) -> float | None:
    """Return how many characters must be read or written until training has paid for itself in compute.

    budget_tokens: tokens of the extended tokenizer that the model is trained on, all of it (6 FLOPs a parameter).
    None when a character costs as much as before, or more.
    """
    cost = cost_of(shape, rows, before, after)
    saved = cost.flops_per_character * (1 / cost.compute - 1)
    trained = TRAINING_FLOPS * budget_tokens * (shape.active + shape.width * max(rows, shape.vocabulary))
    return trained / saved if saved > 0 else None
