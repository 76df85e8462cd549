"""Bits per byte of held-out text during training, and the guard over the base language."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import nn

from vocabkit.errors import VocabkitError
from vocabkit.model.scores import scored_batches
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.start import start_id
from vocabkit.train.processes import Processes
from vocabkit.train.trainee import Trainee


@dataclass(frozen=True)
class HeldOut:
    """Text that is not trained on.  name: "target" or "base".  ids: of its lines.  bytes, hash: of them all."""

    name: str
    ids: list[list[int]]
    bytes: int
    start: int
    hash: str


def held_out(name: str, lines: Sequence[str], tokenizer: Tokenizer) -> HeldOut:
    """Return lines ready to be scored, each a document; raises VocabkitError when there are none."""
    if not lines:
        raise VocabkitError(f"the {name} text to evaluate on is empty; name one with at least a line")
    data = "\n".join(lines).encode()
    size = sum(len(line.encode()) for line in lines)
    return HeldOut(name, tokenizer.encode(lines), size, start_id(tokenizer), sha256(data).hexdigest()[:32])


def bits_per_byte(module: nn.Module, trainee: Trainee, text: HeldOut, processes: Processes, context: int) -> float:
    """Return -sum log2 p / bytes; the processes share the work, and all get the figure."""
    batches = list(scored_batches(text.ids, text.start, context=context))
    nats = 0.0
    with trainee.evaluated():
        # As many passes in every process: a sharded model is gathered by all together.
        for number in range(-(-len(batches) // processes.world)):
            index = number * processes.world + processes.rank
            ids, labels = batches[min(index, len(batches) - 1)]
            if index >= len(batches):
                labels = torch.full_like(labels, -100)
            _, loss = module(ids.to(processes.device), labels.to(processes.device))
            nats += float(loss.double())
    (total,) = processes.summed([nats])
    return total / math.log(2) / max(text.bytes, 1)
