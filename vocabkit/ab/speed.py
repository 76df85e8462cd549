"""How many characters a second a reader gets from each vocabulary."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vocabkit.errors import VocabkitError
from vocabkit.infer.engine import Engine
from vocabkit.infer.load import Opening, open_engine
from vocabkit.infer.sampling import Sampling
from vocabkit.infer.scheduler import Scheduler
from vocabkit.measure.paired import Interval, combined, line_variance

ROUNDS = 5
NEW_TOKENS, PROMPT_TOKENS = 64, 16


@dataclass(frozen=True)
class Speed:
    """Greedy decoding of one text.  tokens_per_second: of every round.  characters_per_token: of held-out text."""

    tokens_per_second: tuple[float, ...]
    characters_per_token: float

    @property
    def characters_per_second(self) -> float:
        """The geometric mean over rounds."""
        return math.exp(float(np.mean(np.log(self.tokens_per_second)))) * self.characters_per_token


@dataclass(frozen=True)
class Speeds:
    """Of "base" and "extended", and by what share the extended one is faster."""

    each: dict[str, Speed]
    gain: Interval

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Speeds:
        """Return the speeds that `to_json` gave."""
        each = {
            name: Speed(tuple(one["tokens_per_second"]), one["characters_per_token"])
            for name, one in data["each"].items()
        }
        return cls(each, Interval(**data["gain"]))


def speeds(models: Mapping[str, Path], lines: Sequence[str], device: str | None) -> Speeds:
    """Time greedy decoding of the two models in turn, and count characters of `lines` in a token of each.

    What a model says does not change how long a token takes, so the models need not be trained.
    The interval of the gain is of rounds (a t interval of the logarithm) and of lines (a bootstrap) together.
    Raises VocabkitError when a model cannot be decoded with a cache.
    """
    engines = {name: open_engine(folder, Opening(device=device)) for name, folder in models.items()}
    encoded = {name: engine.tokenizer.encode(lines) for name, engine in engines.items()}
    length = min(NEW_TOKENS, *(engine.max_length - PROMPT_TOKENS - 1 for engine in engines.values()))
    if length < 2:
        raise VocabkitError("the models' context is too short to time decoding in it")
    found: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(-1, ROUNDS):
        for name, engine in engines.items():
            prompt = [engine.start, *encoded[name][max(number, 0) % len(lines)][: PROMPT_TOKENS - 1]]
            rate = _tokens_per_second(engine, prompt, length)
            # The first round is for caches and threads.
            if number >= 0:
                found[name].append(rate)
    characters = sum(map(len, lines))
    each = {name: Speed(tuple(found[name]), characters / sum(map(len, ids))) for name, ids in encoded.items()}
    return Speeds(each, _gain(each, encoded))


def _gain(each: Mapping[str, Speed], encoded: Mapping[str, Sequence[Sequence[int]]]) -> Interval:
    ratios = np.log(each["extended"].tokens_per_second) - np.log(each["base"].tokens_per_second)
    lengths = np.array([[len(ids) for ids in encoded[name]] for name in ("base", "extended")], np.float64)
    value = math.log(each["extended"].characters_per_second / each["base"].characters_per_second)
    found = combined(
        value,
        [
            (float(ratios.var(ddof=1)) / len(ratios), len(ratios) - 1),
            (line_variance(lengths, lambda old, new: np.log(old / new)), lengths.shape[1] - 1),
        ],
    )
    assert found.low is not None
    assert found.high is not None
    return Interval(math.expm1(found.value), math.expm1(found.low), math.expm1(found.high))


def _tokens_per_second(engine: Engine, prompt: Sequence[int], length: int) -> float:
    """Return the rate after the first token, which waits for the prompt."""
    scheduler = Scheduler(engine, max_batch=1)
    scheduler.submit(prompt, Sampling(max_new_tokens=length, ignore_eos=True))
    times = [time.perf_counter() for _ in scheduler.run()]
    return (len(times) - 1) / (times[-1] - times[0])
