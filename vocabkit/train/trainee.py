"""A model ready to be trained: split vocabulary, adapters, everything else frozen, and its loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vocabkit.errors import CheckpointError, VocabkitError
from vocabkit.manifest import read_manifest
from vocabkit.rows.checkpoint import CONFIG, read_json
from vocabkit.tokenizer import open_tokenizer
from vocabkit.train.adapters import Adapting, LowRank, attach
from vocabkit.train.settings import Settings
from vocabkit.train.split import SplitHead, split_vocabulary

# Of a loss computed in two ways.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}


class Trainee(nn.Module):
    """A causal language model of which the chosen rows and adapters train.

    model: with its vocabulary split and its linear layers replaced.  rows, head_rows: one object when tied.
    adapters: name of a linear layer -> its adapter.  first: the row from which on rows may train.
    new_from: the id from which on tokens are new; None where nothing says so.
    """

    def __init__(self, model: Any, settings: Settings, first: int, device: str = "cpu") -> None:
        super().__init__()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.first = first
        self.new_from: int | None = None
        self.rows, self.head_rows = split_vocabulary(
            model, first, "none" if settings.rows == "none" else settings.matrices
        )
        how = Adapting(
            frozenset(settings.targets),
            settings.rank,
            settings.alpha / settings.rank,
            settings.dropout,
            settings.quantize == "nf4",
            device,
        )
        self.adapters: dict[str, LowRank] = attach(model, how)
        self.model = model
        config = model.config.get_text_config()
        self._softcap = getattr(config, "final_logit_softcapping", None)
        # Granite divides its logits, Cohere multiplies them.
        self._scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
        # Mixtral's name of it, and Qwen's.
        experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None) or 0
        self._aux = settings.aux_loss if experts else 0.0
        self._experts = (experts, getattr(config, "num_experts_per_tok", 0))
        if settings.checkpointing:
            # Its name before transformers 5.20 or so.
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        self._body = torch.compile(model.base_model) if settings.compile else model.base_model

    @property
    def is_tied(self) -> bool:
        """Whether input and head are one matrix."""
        return self.rows is self.head_rows

    def trained(self) -> dict[str, nn.Parameter]:
        """Return everything that trains, by name: "rows.input", "rows.head" unless tied, LAYER.lora_A and .lora_B."""
        found = {}
        if self.rows.new.requires_grad:
            found["rows.input"] = self.rows.new
        if self.head_rows.new.requires_grad and not self.is_tied:
            found["rows.head"] = self.head_rows.new
        for name, adapter in self.adapters.items():
            found |= {f"{name}.lora_A": adapter.a, f"{name}.lora_B": adapter.b}
        return found

    def forward(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is minimised and the sum of -log p alone, over the labels that are not -100; both [].

        ids, labels: [B, T]; labels[:, t] is what comes after ids[:, t].
        The first holds the load balancing of experts too, weighed by the number of labels.
        """
        more = {"output_router_logits": True} if self._aux else {}
        found = self._body(input_ids=ids, use_cache=False, **more)
        hidden = found.last_hidden_state
        if self._scale != 1:
            hidden = hidden * self._scale
        head = self.model.get_output_embeddings()
        assert isinstance(head, SplitHead)
        loss = head.loss(hidden, labels, self._softcap)
        if not self._aux:
            return loss, loss.detach()
        from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

        seen = (labels != -100).long()
        if not seen.any():
            # Of no place there is no balance; DDP waits for a gradient of the router all the same.
            return loss + 0 * sum(scores.sum() for scores in found.router_logits), loss.detach()
        balance = load_balancing_loss_func(found.router_logits, *self._experts, seen)
        return loss + self._aux * seen.sum() * balance, loss.detach()

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """Neither dropout nor gradients while the block runs."""
        was = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(was)


def open_trainee(folder: Path, settings: Settings, *, device: str = "cpu", tokens: int | None = None) -> Trainee:
    """Return the model of `folder` made ready by `settings`.

    tokens: how many its tokenizer has; None: it is opened to see.
    Raises CheckpointError when it cannot be loaded or trained, VocabkitError when it has no new rows to train.
    """
    from vocabkit.model.load import load_model

    first = first_row(folder, settings.rows)
    quantized = settings.quantize == "nf4"
    dtype = settings.dtype if settings.dtype != "auto" else _dtype_of(folder, device)
    model = load_model(folder, device="cpu" if quantized else device, dtype=dtype)
    rows = model.get_input_embeddings().weight.shape[0]
    tokens = open_tokenizer(folder).size if tokens is None else tokens
    if tokens > rows:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokens:,} tokens and the weights {rows:,} rows; extend the model again, "
            f"or use the tokenizer it was made with"
        )
    if first > rows or (settings.rows == "new" and first == rows):
        raise CheckpointError(
            f"{folder}: its manifest says that new rows begin at {first:,}, and the weights have {rows:,} rows; "
            f"extend the model again"
        )
    _check_positions(model, settings.block_size, folder)
    torch.manual_seed(settings.seed)
    ids = _some_ids(rows, model.device)
    expected = None if quantized else _own_loss(model, ids)
    trainee = Trainee(model, settings, rows if settings.rows == "none" else first, device).to(device)
    _check_loss(trainee, ids.to(device), expected, folder)
    base = (read_manifest(folder) or {}).get("base")
    trainee.new_from = base["size"] if isinstance(base, dict) else None
    return trainee.train()


def first_row(folder: Path, rows: str) -> int:
    """Return the row from which on rows train: 0 for "all", the base's size for "new".

    Raises VocabkitError when "new" is asked of a model that was not extended.
    """
    if rows != "new":
        return 0
    base = (read_manifest(folder) or {}).get("base")
    if not isinstance(base, dict) or not isinstance(base.get("size"), int):
        raise VocabkitError(
            f"{folder} has no new rows: no vocabkit.json says where they begin; run `vocabkit extend` first, or "
            f"choose --rows all or --rows none"
        )
    return int(base["size"])


def _dtype_of(folder: Path, device: str) -> str:
    """Return what "auto" is: float32 on a CPU, which is slow in anything else; of 16-bit checkpoints bfloat16."""
    if device.startswith("cpu"):
        return "float32"
    config = read_json(folder / CONFIG)
    sections = [config, config.get("text_config") or {}]
    said = next((s[name] for s in sections for name in ("dtype", "torch_dtype") if s.get(name)), "float32")
    return "bfloat16" if said in ("bfloat16", "float16") else "float32"


def _check_positions(model: Any, block_size: int, folder: Path) -> None:
    """Raise CheckpointError where positions are a table, as GPT-2's, and a block is longer than it."""
    config = model.config.get_text_config()
    most = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    tables = [one for one in model.base_model.modules() if isinstance(one, nn.Embedding)]
    if most and block_size > most and any(one is not model.get_input_embeddings() for one in tables):
        raise CheckpointError(f"{folder} has {most:,} positions, and no more can be made; use --block-size {most}")


def _some_ids(rows: int, device: Any) -> Tensor:
    return (torch.arange(16, device=device)[None] * 7919) % rows


def _own_loss(model: Any, ids: Tensor) -> float:
    with torch.no_grad():
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits.float()
    return float(nn.functional.cross_entropy(logits[0], ids[0, 1:], reduction="sum"))


def _check_loss(trainee: Trainee, ids: Tensor, expected: float | None, folder: Path) -> None:
    """Compare our loss with the model's own before anything was replaced in it, so that none is trained wrongly.

    expected: None for a body in 4 bits, which differs; then its own head, after the replacements, is the measure.
    """
    with trainee.evaluated():
        _, ours = trainee(ids[:, :-1], ids[:, 1:])
        theirs = _own_loss(trainee.model, ids) if expected is None else expected
    tolerance = TOLERANCE[trainee.rows.old.dtype]
    if not abs(float(ours) - theirs) <= tolerance * abs(theirs):
        raise CheckpointError(
            f"{folder}: {type(trainee.model).__name__} computes its loss in a way that is not known here "
            f"({theirs:.4f}, not {ours:.4f}); it cannot be trained"
        )
