"""Texts as vectors: what a causal model holds of them, averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vocabkit.errors import VocabkitError
from vocabkit.infer.engine import Engine

# Tokens of a pass, padding too.
TOKENS_PER_PASS = 4096


def passes(texts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the numbers of the texts that are read together, of similar length, a list for each pass."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = []
    while order:
        group = [order.pop()]
        # The longest comes first, so all others are padded to it.
        while order and (len(group) + 1) * len(texts[group[0]]) <= TOKENS_PER_PASS:
            group.append(order.pop())
        found.append(group)
    return found


def embedded(engine: Engine, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    """Return a vector of length 1 for every text's ids, [width] float32: the mean of its last hidden states.

    The texts are read in one pass.  A causal model was not trained for this: near texts are nearer than far ones, and
    no more is promised.
    Raises VocabkitError for a text that is empty, or longer than the context.
    """
    for ids in texts:
        if not ids:
            raise VocabkitError("a text to embed is empty; send at least one token")
        engine.checked_length(len(ids), 1)
    hidden = engine.hidden(engine.cache(), 0, texts, [0] * len(texts)).float()
    means = [hidden[row, : len(ids)].mean(0) for row, ids in enumerate(texts)]
    return [torch.nn.functional.normalize(mean, dim=0).cpu().numpy() for mean in means]
