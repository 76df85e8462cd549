"""Which sequences a step trains on: several texts mixed by bytes, in an order that the seed alone decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import VocabkitError
from vocabkit.train.packing import Sequences
from vocabkit.train.token_cache import TokenCache


@dataclass(frozen=True)
class Drawn:
    """One sequence.  source: which text it is of.  ids, learned: [n].  bytes: of its learned ids."""

    source: str
    ids: NDArray[np.int32]
    learned: NDArray[np.bool_]
    bytes: int


class Source:
    """The sequences of one text without end: shard after shard, each shuffled anew in every pass or not at all."""

    def __init__(self, name: str, cache: TokenCache, seed: int, shuffle: bool) -> None:
        self.name = name
        self._cache = cache
        self._shuffle = shuffle
        # A source's order depends on its name and not on what stands beside it.
        self._seed = [seed, *name.encode()]
        self.pass_, self.shard, self.place = 0, 0, 0
        self._order: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def draw(self) -> Drawn:
        """Return the next sequence; raises VocabkitError when there is none at all."""
        sequences = self._current()
        if self._order is None or self._order[0] != (self.pass_, self.shard):
            generator = np.random.default_rng([*self._seed, self.pass_, self.shard])
            order = generator.permutation(len(sequences)) if self._shuffle else np.arange(len(sequences))
            self._order = (self.pass_, self.shard), order
        index = int(self._order[1][self.place])
        self.place += 1
        ids, learned = sequences.get(index)
        return Drawn(self.name, ids, learned, int(sequences.bytes[index]))

    def _current(self) -> Sequences:
        while True:
            sequences = self._cache.shard(self.shard)
            if sequences is not None and self.place < len(sequences):
                return sequences
            if sequences is None:
                if self.shard == 0 or not self._cache.facts()["sequences"]:
                    raise VocabkitError(f"the text {self.name!r} is empty; name text with at least one line")
                self.pass_, self.shard = self.pass_ + 1, 0
            else:
                self.shard += 1
            self.place = 0


class Mixture:
    """Sequences of several sources, so that each has its share of the bytes at any time.

    shares: source name -> share of all bytes, from 0 to 1; sources that are not named share the rest by their size.
    shuffle: False keeps the order of every text, so that documents come in the same order whatever the tokenizer.
    """

    def __init__(
        self, caches: Mapping[str, TokenCache], shares: Mapping[str, float], seed: int, *, shuffle: bool = True
    ) -> None:
        self.sources = {name: Source(name, cache, seed, shuffle) for name, cache in caches.items()}
        self._caches = caches
        self.shares = self._complete(shares)
        self.bytes = dict.fromkeys(self.sources, 0)

    def draw(self, count: int) -> list[Drawn]:
        """Return the next `count` sequences: each of the source that is furthest behind its share."""
        found = []
        for _ in range(count):
            total = sum(self.bytes.values())
            name = max(self.sources, key=lambda name: self.shares[name] * total - self.bytes[name])
            if not total:
                name = max(self.sources, key=lambda name: self.shares[name])
            drawn = self.sources[name].draw()
            # A sequence of special ids alone has no bytes, and must not be drawn for ever.
            self.bytes[name] += max(drawn.bytes, 1)
            found.append(drawn)
        return found

    def sequences_in_a_pass(self) -> float:
        """Return how many sequences are drawn until each source without a share was read once; waits for all text."""
        facts = {name: cache.facts() for name, cache in self._caches.items()}
        for name, found in facts.items():
            if not found["sequences"]:
                raise VocabkitError(f"the text {name!r} is empty; name text with at least one line")
        # What each source's sequence weighs: mixed sources are drawn by bytes.
        free = [name for name in self.sources if name not in self._given]
        total = sum(facts[name]["bytes"] for name in free) / max(sum(self.shares[name] for name in free), 1e-9)
        each = {name: facts[name]["bytes"] / facts[name]["sequences"] for name in self.sources}
        return float(sum(self.shares[name] * total / max(each[name], 1e-9) for name in self.sources))

    def names(self) -> dict[str, str]:
        """Return the name of every source's cache, which says what is in it."""
        return {name: cache.path.name for name, cache in self._caches.items()}

    def state(self) -> dict[str, Any]:
        """Return where every source stands."""
        return {
            name: {"pass": s.pass_, "shard": s.shard, "place": s.place, "bytes": self.bytes[name]}
            for name, s in self.sources.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        for name, found in state.items():
            source = self.sources[name]
            source.pass_, source.shard, source.place = found["pass"], found["shard"], found["place"]
            self.bytes[name] = found["bytes"]

    def _complete(self, shares: Mapping[str, float]) -> dict[str, float]:
        unknown = next((name for name in shares if name not in self.sources), None)
        if unknown is not None:
            raise VocabkitError(
                f"--mix {unknown}={shares[unknown]} names no text; give it one with --data {unknown}=FILE"
            )
        given = sum(shares.values())
        free = [name for name in self.sources if name not in shares]
        if not 0 <= given <= 1 or any(share < 0 for share in shares.values()) or (given >= 1 and free):
            raise VocabkitError(f"the shares of --mix are {given:g} together; they must leave something for the rest")
        if not free and abs(given - 1) > 1e-9:
            raise VocabkitError(f"the shares of --mix are {given:g} together; leave one text without a share")
        self._given = frozenset(shares)
        if len(free) == 1:
            rest = {free[0]: 1 - given}
        else:
            # Two texts or more without a share: by their size, which must be known.
            sizes = {name: max(1, self._caches[name].facts()["bytes"]) for name in free}
            rest = {name: (1 - given) * size / sum(sizes.values()) for name, size in sizes.items()}
        return {**{name: shares.get(name, 0.0) for name in self.sources}, **rest}


def batches(drawn: Sequence[Drawn], micro_batch: int, rank: int, world: int) -> list[list[Drawn]]:
    """Return the share of process `rank` of `world` in passes of at most `micro_batch`; every process gets as many.

    Sequences go to processes in turn.  A pass may be empty where they do not come out even.
    """
    mine = list(drawn[rank::world])
    passes = ceil(ceil(len(drawn) / world) / micro_batch)
    return [mine[i * micro_batch : (i + 1) * micro_batch] for i in range(passes)]
