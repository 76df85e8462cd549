"""Texts as vectors: what a causal model holds of them, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vocabkit.errors import VocabkitError
from vocabkit.infer.engine import Engine

# Tokens of a pass, padding too.
TOKENS_PER_PASS = 4096


def embedded(engine: Engine, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    """Return a vector of length 1 for every text's ids, [width] float32: the mean of its last hidden states.

    A causal model was not trained for this: near texts are nearer than far ones, and no more is promised.
    Raises VocabkitError for a text that is empty, or longer than the context.
    """
    for ids in texts:
        if not ids:
            raise VocabkitError("a text to embed is empty; send at least one token")
        engine.checked_length(len(ids), 1)
    found: dict[int, Any] = {}
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    while order:
        group = [order.pop()]
        # The longest comes first, so all others are padded to it.
        while order and (len(group) + 1) * len(texts[group[0]]) <= TOKENS_PER_PASS:
            group.append(order.pop())
        hidden = engine.hidden(engine.cache(), 0, [texts[i] for i in group], [0] * len(group)).float()
        for row, i in enumerate(group):
            mean = hidden[row, : len(texts[i])].mean(0)
            found[i] = torch.nn.functional.normalize(mean, dim=0).cpu().numpy()
    return [found[i] for i in range(len(texts))]
