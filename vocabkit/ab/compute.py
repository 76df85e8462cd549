"""What a token costs, and how much text makes two arms equal in bytes or in compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from vocabkit.ab.documents import REPLAY, TARGET, Texts, first_bytes
from vocabkit.rows.checkpoint import open_checkpoint
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.train.settings import Settings

# Enough text to know tokens per byte to a fraction of a percent.
SAMPLE_BYTES = 2 << 20


@dataclass(frozen=True)
class Sizes:
    """How much text each budget is.

    bytes: of target text that every arm of equal bytes reads in a pass.  multiple: by how much the extended arm reads
    more at equal compute.  tokens_per_byte: vocabulary -> text -> tokens, marks included.
    flops_per_token: vocabulary -> what a token costs in training.
    """

    bytes: int
    multiple: float
    tokens_per_byte: dict[str, dict[str, float]]
    flops_per_token: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def sizes_of(
    texts: Texts,
    tokenizers: dict[str, Tokenizer],
    models: dict[str, Path],
    settings: Settings,
    *,
    mix: float,
    max_bytes: int | None,
    max_steps: int | None,
) -> Sizes:
    """Return how much text there is to read.

    tokenizers, models: "base" and "extended" -> each.  mix: share of all bytes that is replayed text.
    max_bytes, max_steps: at most so much target text, and so many steps of the base's arm.
    """
    tokens = {
        name: {text: _tokens_per_byte(found, tokenizer, settings) for text, found in texts.trained.items()}
        for name, tokenizer in tokenizers.items()
    }
    flops = {name: flops_per_token(folder, settings.block_size) for name, folder in models.items()}
    # Of a byte of target text and the replay that comes with it.
    each = {name: one[TARGET] + one.get(REPLAY, 0.0) * mix / (1 - mix) for name, one in tokens.items()}
    size = min(texts.bytes(TARGET), max_bytes or texts.bytes(TARGET))
    if max_steps:
        most = max_steps * settings.batch_size * (settings.block_size - 1)
        size = min(size, int(most / each["base"] / settings.epochs))
    multiple = each["base"] * flops["base"] / (each["extended"] * flops["extended"])
    return Sizes(size, multiple, tokens, flops)


def flops_per_token(folder: Path, block_size: int) -> float:
    """Return the operations that a token takes in training: six for each weight that it meets.

    The products of attention are those of blocks of `block_size`, half of which a token sees on average.  Experts
    count as if all worked.  Source: Kaplan et al., arXiv 2001.08361, section 2.1.
    """
    checkpoint = open_checkpoint(folder)
    config = checkpoint.config.get("text_config") or checkpoint.config
    layers = config.get("num_hidden_layers") or config.get("n_layer") or 0
    met = parameters_of(folder, body=True) + checkpoint.rows * checkpoint.width
    return 6.0 * (met + layers * checkpoint.width * block_size)


def parameters_of(folder: Path, *, body: bool = False) -> int:
    """Return how many parameters a model has, a tied matrix counted once.  body: without vocabulary rows."""
    checkpoint = open_checkpoint(folder)
    rows = {tensor.name for tensor in checkpoint.row_tensors}
    if checkpoint.tied and checkpoint.head is not None and not body:
        rows = {checkpoint.head.name} - {checkpoint.input.name}
    elif not body:
        rows = set()
    tensors = (tensor for header in checkpoint.shards.values() for tensor in header.tensors.values())
    return sum(prod(tensor.shape) for tensor in tensors if tensor.name not in rows)


def _tokens_per_byte(texts: Sequence[str], tokenizer: Tokenizer, settings: Settings) -> float:
    sample = first_bytes(texts, SAMPLE_BYTES)
    marks = max(1, settings.bos + settings.eos)
    tokens = sum(len(ids) + marks for ids in tokenizer.encode(sample))
    return tokens / sum(len(text.encode()) for text in sample)
