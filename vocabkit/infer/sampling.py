"""Which token comes next: penalties, temperature, top-k, top-p, min-p, guidance, and the draw."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vocabkit.errors import VocabkitError


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen, and when a text ends.

    max_new_tokens: at most so many.  temperature: 0 takes the likeliest.  top_k: 0 for all.  top_p: 1 for all.
    min_p: share of the likeliest token's probability below which none is drawn.
    repetition_penalty: of every id that the prompt or the answer holds (Keskar et al., "CTRL").
    presence_penalty, frequency_penalty: taken from the logits of ids of the answer, once or as often as they occur.
    seed: None draws one.  stop: strings that end the text and are no part of it.
    guidance: scale of classifier-free guidance, 1 for none.  ignore_eos: go on after the end, for measuring.
    logprobs: how many of the likeliest tokens to report beside the chosen one; None reports nothing.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    guidance: float = 1.0
    ignore_eos: bool = False
    logprobs: int | None = None

    def __post_init__(self) -> None:
        for name, value, fits, needed in (
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "1 or more"),
            ("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 or more"),
            ("top_k", self.top_k, self.top_k >= 0, "0 or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 to 1"),
            ("repetition_penalty", self.repetition_penalty, 0 < self.repetition_penalty < math.inf, "above 0"),
            ("presence_penalty", self.presence_penalty, math.isfinite(self.presence_penalty), "a number"),
            ("frequency_penalty", self.frequency_penalty, math.isfinite(self.frequency_penalty), "a number"),
            ("guidance", self.guidance, math.isfinite(self.guidance), "a number"),
        ):
            if not fits:
                raise VocabkitError(f"{name} is {value}; it must be {needed}")
        if any(not one for one in self.stop):
            raise VocabkitError("a stop string is empty; leave it out")

    @property
    def is_greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature == 0

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest logit is the answer, whatever came before."""
        return self.is_greedy and not self.penalises and self.logprobs is None

    @property
    def penalises(self) -> bool:
        """Whether what came before changes the logits."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0


class Chooser:
    """Chooses the tokens of one text, with random numbers of its own.

    prompt: its ids, which the repetition penalty counts.  number: tells texts of the same seed apart.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], number: int = 0) -> None:
        self.sampling = sampling
        self._prompt = torch.tensor(sorted(set(prompt)), dtype=torch.long)
        self._said: dict[int, int] = {}
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        self._random = torch.Generator().manual_seed((seed + number * 0x9E3779B97F4A7C15) % (1 << 63))

    def distribution(self, logits: Tensor) -> Tensor:
        """Return the probabilities that the next token is drawn from, [V] float32; greedy: one is 1.

        logits: [V].
        """
        scores = self._penalised(logits.float())
        if self.sampling.is_greedy:
            return torch.zeros_like(scores).index_fill_(0, scores.argmax(), 1.0)
        return torch.softmax(_warped(scores / self.sampling.temperature, self.sampling), -1)

    def choose(self, logits: Tensor) -> int:
        """Return the id that comes next, and remember that it was said."""
        if self.sampling.is_greedy:
            found = int(self._penalised(logits.float()).argmax())
        else:
            found = self.draw(self.distribution(logits))
        self.said(found)
        return found

    def draw(self, probabilities: Tensor) -> int:
        """Return an id with its probability; `probabilities`, [V], need not add up to 1."""
        upto = probabilities.double().cumsum(0)
        place = self.uniform() * float(upto[-1])
        index = int(torch.searchsorted(upto, torch.tensor(place, device=upto.device, dtype=upto.dtype), right=True))
        if index >= len(upto):
            # The greatest number below 1 may round up to the whole.
            index = int(probabilities.nonzero()[-1])
        return index

    def uniform(self) -> float:
        """Return a random number from 0 up to 1."""
        return float(torch.rand((), generator=self._random, dtype=torch.float64))

    def said(self, token: int) -> None:
        """Count a token for the penalties."""
        self._said[token] = self._said.get(token, 0) + 1

    def unsaid(self, token: int) -> None:
        """Take a token back that was counted and is no part of the text after all."""
        self._said[token] -= 1
        if not self._said[token]:
            del self._said[token]

    def _penalised(self, logits: Tensor) -> Tensor:
        sampling = self.sampling
        if not sampling.penalises:
            return logits
        scores = logits.clone()
        said = torch.tensor(list(self._said), dtype=torch.long)
        if sampling.repetition_penalty != 1:
            ids = torch.unique(torch.cat([self._prompt, said])).to(scores.device)
            of = scores[ids]
            scores[ids] = torch.where(of < 0, of * sampling.repetition_penalty, of / sampling.repetition_penalty)
        if self._said and (sampling.presence_penalty or sampling.frequency_penalty):
            counts = torch.tensor(list(self._said.values()), dtype=scores.dtype)
            taken = sampling.presence_penalty + sampling.frequency_penalty * counts
            scores[said.to(scores.device)] -= taken.to(scores.device)
        return scores


def guided(logits: Tensor, negative: Tensor, scale: float) -> Tensor:
    """Return log p of the negative prompt plus `scale` times what the prompt adds to it, [V].

    Source: Sanchez et al., "Stay on topic with Classifier-Free Guidance", equation 7.  1 gives log p of the prompt.
    """
    positive = torch.log_softmax(logits.float(), -1)
    if scale == 1:
        return positive
    other = torch.log_softmax(negative.float(), -1)
    # Ids that are never produced are -inf in both, and their difference is no number.
    return torch.where(positive == -math.inf, positive, other + scale * (positive - other))


def _warped(scores: Tensor, sampling: Sampling) -> Tensor:
    """Return the scores with those that may not be drawn at -inf, in transformers' order: top-k, top-p, min-p."""
    if 0 < sampling.top_k < len(scores):
        least = scores.topk(sampling.top_k).values[-1]
        scores = scores.masked_fill(scores < least, -math.inf)
    if sampling.top_p < 1:
        ascending, order = scores.sort()
        beneath = ascending.softmax(-1).cumsum(-1) <= 1 - sampling.top_p
        beneath[-1] = False
        scores = scores.masked_fill(torch.zeros_like(beneath).scatter_(0, order, beneath), -math.inf)
    if sampling.min_p > 0:
        probabilities = scores.softmax(-1)
        scores = scores.masked_fill(probabilities < sampling.min_p * probabilities.max(), -math.inf)
    return scores
