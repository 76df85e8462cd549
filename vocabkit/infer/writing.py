"""A text that is being written, and what is reported of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vocabkit.infer.engine import Engine
from vocabkit.infer.sampling import Chooser, Sampling
from vocabkit.infer.stream import TextStream

LENGTH, STOP, CANCELLED = "length", "stop", "cancelled"


@dataclass(frozen=True)
class LogProb:
    """log p of the chosen token, and of the likeliest ones: (id, log p), the likeliest first."""

    chosen: float
    likeliest: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Event:
    """A token of a text, or its end.

    text: what became certain with it.  token: None where the text ended without one.  finish: "stop" at the end of
    the text or a stop string, "length" at its greatest length, "cancelled"; None while it goes on.
    """

    writing: Writing
    token: int | None
    text: str
    finish: str | None = None
    log_prob: LogProb | None = None


@dataclass(eq=False)
class Writing:
    """A text that is being written.

    prompt: its ids.  ids: prompt and answer.  limit: the greatest number of new ids.  held: how many ids the cache
    holds.  shadow: the same answer after a negative prompt, for guidance.
    """

    prompt: Sequence[int]
    sampling: Sampling
    limit: int
    chooser: Chooser
    stream: TextStream
    ends: frozenset[int]
    ids: list[int] = field(default_factory=list)
    held: int = 0
    is_cancelled: bool = False
    shadow: Writing | None = None
    is_shadow: bool = False

    @property
    def new_tokens(self) -> int:
        """How many tokens the answer has."""
        return len(self.ids) - len(self.prompt)

    @property
    def rest(self) -> list[int]:
        """Ids that the model has not read."""
        return self.ids[self.held :]

    def add(self, token: int, logits: Tensor) -> Event:
        """Append a token that was chosen from `logits`, [V], and return what it says."""
        self.ids.append(token)
        if self.shadow:
            self.shadow.ids.append(token)
        if token in self.ends and not self.sampling.ignore_eos:
            return Event(self, token, self.stream.finish(), STOP)
        text = self.stream.push(token)
        finish = STOP if self.stream.has_stopped else None
        if finish is None and self.new_tokens >= self.limit:
            text += self.stream.finish()
            finish = STOP if self.stream.has_stopped else LENGTH
        return Event(self, token, text, finish, _log_prob(logits, token, self.sampling.logprobs))


def begun(
    engine: Engine,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    number: int = 0,
    negative: Sequence[int] | None = None,
) -> Writing:
    """Return a text that begins after a prompt's ids, after BOS where there are none.

    number: tells texts of one seed apart.  negative: ids of another prompt, which guidance leads away from.
    Raises VocabkitError when the context cannot hold the prompt.
    """
    prompt = list(prompt) or [engine.start]
    other = list(negative or [engine.start])
    is_guided = sampling.guidance != 1
    limit = engine.checked_length(max(len(prompt), len(other) if is_guided else 0), sampling.max_new_tokens)

    def one(ids: list[int], shadow: Writing | None) -> Writing:
        chooser = Chooser(sampling, ids, number)
        stream = TextStream(engine.tokenizer.token_bytes, sampling.stop)
        return Writing(ids, sampling, limit, chooser, stream, engine.ends, list(ids), shadow=shadow)

    shadow = one(other, None) if is_guided else None
    if shadow:
        shadow.is_shadow = True
    return one(prompt, shadow)


def _log_prob(logits: Tensor, token: int, count: int | None) -> LogProb | None:
    if count is None:
        return None
    scores = torch.log_softmax(logits.float(), -1)
    best = scores.topk(min(count, len(scores)))
    return LogProb(float(scores[token]), tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)))
