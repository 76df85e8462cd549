"""Every number of a training run, the stages, and the releases whose numbers are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from vocabkit.errors import UnknownNameError, VocabkitError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
# Mixtral's names: its router, and the three matrices of every expert.
EXPERTS = (*ATTENTION, "gate", "w1", "w2", "w3")
ROWS = ("new", "all", "none")
MATRICES = ("both", "input", "head")
SCHEDULES = ("cosine", "linear", "constant")
# No float16: gradients of a mean over thousands of tokens are below what it holds.
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Settings:
    """What decides the numbers of a run; the same settings and text give the same model.

    stage: "rows", "pretrain" or "instruct".  steps: optimizer steps; None: as many as `epochs` passes take.
    block_size: tokens of a sequence at most.  batch_size: sequences of a step, on all devices and all micro-batches
        together.  micro_batch: sequences of one pass on one device.
    learning_rate: of adapters.  rows_learning_rate: of vocabulary rows.  warmup: share of the steps.
    clip: greatest norm of the gradient, 0 for none.  aux_loss: weight of the load balancing of experts, if any.
    rows: which vocabulary rows train: "new", "all" or "none".  matrices: of "both" embedding and head, or of "input"
        or "head" alone, which a tied model cannot tell apart.  targets: linear layers that get adapters, by the last
        part of their name.  rank, alpha, dropout: of the adapters, which are scaled by alpha / rank.
    quantize: "none", or "nf4" for frozen linear layers in 4 bits.  dtype: of the frozen weights and of the products.
    template: how instructions are written (see `chat`).  shuffle: sequences, within a shard.
    """

    stage: str = "rows"
    steps: int | None = None
    epochs: float = 1.0
    block_size: int = 512
    batch_size: int = 32
    micro_batch: int = 4
    learning_rate: float = 1e-4
    rows_learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.05
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip: float = 1.0
    aux_loss: float = 0.02
    rows: str = "new"
    matrices: str = "both"
    targets: tuple[str, ...] = ()
    rank: int = 8
    alpha: float = 32.0
    dropout: float = 0.0
    quantize: str = "none"
    dtype: str = "auto"
    checkpointing: bool = False
    compile: bool = False
    template: str = "auto"
    bos: bool = True
    eos: bool = True
    shuffle: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("stage", tuple(STAGES)), ("rows", ROWS), ("matrices", MATRICES), ("schedule", SCHEDULES),
            ("quantize", ("none", "nf4")), ("dtype", ("auto", *DTYPES)),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise VocabkitError(f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}")
        for name in ("block_size", "batch_size", "micro_batch", "rank"):
            if getattr(self, name) < 1:
                raise VocabkitError(f"{name} {getattr(self, name)} must be at least 1")
        if self.block_size < 2:
            raise VocabkitError("block_size 1 leaves nothing to predict; use 2 or more")
        if self.steps is not None and self.steps < 1:
            raise VocabkitError(f"steps {self.steps} must be at least 1")
        if not self.epochs > 0:
            raise VocabkitError(f"epochs {self.epochs} must be more than 0")
        for name in (
            "learning_rate", "rows_learning_rate", "weight_decay", "clip", "epsilon", "aux_loss", "epochs", "alpha"
        ):  # fmt: skip
            if not 0 <= getattr(self, name) < float("inf"):
                raise VocabkitError(f"{name} {getattr(self, name)} must be a number from 0 on")
        for name in ("warmup", "dropout", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise VocabkitError(f"{name} {getattr(self, name)} is not from 0 to below 1")
        if self.rows == "none" and not self.targets:
            raise VocabkitError("nothing would be trained: --rows none needs adapters, name them with --targets")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return {**asdict(self), "targets": list(self.targets)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Return the settings that `to_json` gave."""
        known = {field.name for field in fields(cls)}
        found = {name: value for name, value in data.items() if name in known}
        return cls(**{**found, "targets": tuple(found.get("targets", ()))})


STAGES: dict[str, dict[str, Any]] = {
    # Everything frozen but rows: what new tokens need first, and nothing else can be spoilt.
    "rows": {"rows_learning_rate": 1e-3, "warmup": 0.05},
    # Continued pre-training: adapters everywhere, and the rows with them.
    "pretrain": {
        "targets": LINEAR, "rank": 8, "alpha": 32.0, "dropout": 0.05, "learning_rate": 2e-4,
        "rows_learning_rate": 2e-4, "weight_decay": 0.01,
    },
    "instruct": {
        "targets": LINEAR, "rank": 64, "alpha": 128.0, "dropout": 0.05, "learning_rate": 1e-4,
        "rows_learning_rate": 1e-4, "warmup": 0.03,
    },
}  # fmt: skip

_LLAMA = {"rows": "all", "block_size": 512, "rank": 8, "alpha": 32.0, "dropout": 0.05, "targets": LINEAR}
_BIG = {"rank": 64, "alpha": 128.0}


def _release(stage: str, rate: float, **numbers: Any) -> dict[str, Any]:
    return {"stage": stage, "learning_rate": rate, "rows_learning_rate": rate, **_LLAMA, **numbers}


# Source: tables and scripts of the releases (github.com/ymcui: Chinese-LLaMA-Alpaca, -Alpaca-2, -Alpaca-3, Mixtral).
# Every one of them trained whole matrices of the vocabulary; `--rows new` beside a preset trains the new rows alone.
PRESETS: dict[str, dict[str, Any]] = {
    "chinese-llama-7b-stage1": _release("rows", 2e-4, targets=(), matrices="input", batch_size=1024, steps=3000),
    "chinese-llama-7b": _release("pretrain", 1e-4, targets=ATTENTION, batch_size=1024, steps=6000),
    "chinese-llama-plus": _release("pretrain", 2e-4, batch_size=2304, weight_decay=0.01),
    "chinese-llama-13b": _release("pretrain", 2e-4, batch_size=2304, weight_decay=0.01),
    "chinese-llama-33b": _release("pretrain", 2e-4, batch_size=2304, weight_decay=0.01),
    "chinese-alpaca-7b": _release("instruct", 1e-4, batch_size=512, template="alpaca", warmup=0.03),
    "chinese-alpaca-plus": _release("instruct", 1e-4, batch_size=1152, template="alpaca", warmup=0.03, **_BIG),
    "chinese-alpaca-13b": _release("instruct", 1e-4, batch_size=1152, template="alpaca", warmup=0.03),
    "chinese-alpaca-33b": _release("instruct", 1e-4, batch_size=1152, template="alpaca", warmup=0.03),
    "chinese-llama-2": _release("pretrain", 2e-4, weight_decay=0.01, **_BIG),
    "chinese-alpaca-2": _release("instruct", 1e-4, template="alpaca-2", warmup=0.03, **_BIG),
    "chinese-mixtral": _release(
        "pretrain", 1e-4, targets=EXPERTS, block_size=1024, weight_decay=0.1, quantize="nf4", **_BIG
    ),
    "chinese-mixtral-instruct": _release(
        "instruct", 1e-4, targets=EXPERTS, block_size=1024, weight_decay=0.1, epochs=3.0, quantize="nf4",
        template="mixtral", **_BIG,
    ),
    "llama-3-chinese": _release(
        "pretrain", 1e-4, block_size=1024, weight_decay=0.01, dtype="bfloat16", **_BIG
    ),
    "llama-3-chinese-instruct": _release(
        "instruct", 1e-4, warmup=0.03, epochs=3.0, dtype="bfloat16", **_BIG
    ),
}  # fmt: skip


def settings_for(stage: str | None, preset: str | None, given: Mapping[str, Any]) -> Settings:
    """Return the settings of a stage or a release, with what was `given` put over them.

    Raises UnknownNameError for a preset that is not there, VocabkitError for numbers that make no sense.
    """
    if preset is not None and preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    numbers = dict(PRESETS[preset]) if preset else {}
    chosen = stage or numbers.pop("stage", None)
    if chosen is None:
        raise VocabkitError(f"name what to train with --stage ({', '.join(STAGES)}), or a release with --preset")
    if chosen not in STAGES:
        raise UnknownNameError("stage", chosen, STAGES)
    numbers.pop("stage", None)
    base = replace(Settings(), **STAGES[chosen])
    return replace(base, **{**numbers, **given, "stage": chosen})


def learning_rate_factor(settings: Settings, step: int, steps: int) -> float:
    """Return by what rates are multiplied at `step`, from 0 on: up in a line, then down to 0 by the schedule."""
    import math

    warmup = round(settings.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    return 1.0 - done if settings.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
