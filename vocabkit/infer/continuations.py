"""How probable a model finds strings after a prompt, whatever tokens spell them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from vocabkit.errors import VocabkitError
from vocabkit.infer.engine import Engine


class Continuations:
    """Scores what may follow prompts; what consecutive prompts begin with is read once."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._cache = engine, engine.cache()
        self._held: list[int] = []

    def bits(self, prompt: Sequence[int], texts: Sequence[Sequence[int]]) -> list[float]:
        """Return log2 p(prompt) - log2 p(text) for each text, the bits that its continuation costs.

        prompt: ids.  texts: ids of the prompt with each continuation, as the tokenizer spells the whole; a token may
        run across the end of the prompt, for both sides are then scored from where they part.
        Raises VocabkitError when they have no first token in common, or the context does not hold them.
        """
        shared = min(_common(prompt, text) for text in texts)
        if not shared:
            raise VocabkitError("a prompt is empty, or changes from its first token on; begin it with a word")
        self._engine.checked_length(max(map(len, texts)) - 1, 1)
        parts = [list(text[shared:]) for text in texts]
        rest = list(prompt[shared:])
        nats = self._nats(list(prompt[:shared]), [*parts, rest])
        return [(one - nats[-1]) / math.log(2) for one in nats[:-1]]

    def _nats(self, before: list[int], parts: Sequence[list[int]]) -> list[float]:
        """Return -log p(part | before) of each part; an empty one costs nothing."""
        # The last token is read again, for what comes after it was not kept.
        known = min(_common(self._held, before), len(before) - 1)
        fresh = before[known:]
        with torch.inference_mode():
            after = self._engine.read(self._cache, 0, [fresh], [known], every=len(fresh) == 1)
            self._held = before
            scores = torch.log_softmax(after.reshape(-1), -1)
            found = [-float(scores[part[0]]) if part else 0.0 for part in parts]
            longer = [i for i, part in enumerate(parts) if len(part) > 1]
            if longer:
                rests = self._rests(len(before), [parts[i] for i in longer])
                for i, nats in zip(longer, rests, strict=True):
                    found[i] += nats
        return found

    def _rests(self, held: int, parts: Sequence[list[int]]) -> list[float]:
        """Return what the tokens after the first of each part cost, after the `held` tokens of row 0."""
        self._cache.fit(len(parts) + 1, held + max(map(len, parts)))
        for row in range(1, len(parts) + 1):
            self._cache.move(0, row, held)
        logits = self._engine.read(self._cache, 1, [part[:-1] for part in parts], [held] * len(parts), every=True)
        found = []
        for row, part in enumerate(parts):
            scores = torch.log_softmax(logits[row, : len(part) - 1], -1)
            chosen = torch.tensor(part[1:], device=scores.device)[:, None]
            found.append(-float(scores.gather(1, chosen).double().sum()))
        return found


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many ids two lists begin with in common."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
