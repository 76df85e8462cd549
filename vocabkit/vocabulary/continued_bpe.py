"""Continued BPE: learn new tokens on top of a base tokenizer's own segmentation of counted spans.

The corpus is one array of units (base tokens, characters that the base spells with several tokens, and the
new tokens as they come) with a doubly linked list over it.  An inverted index holds the positions of every
pair of neighbours that occurs at least `threshold` times; the most frequent pair becomes a token, all its
places are rewritten at once, and only the pairs beside it are counted again.  When nothing above the threshold
is left, dead positions are squeezed out and the index is built anew with a lower one, so that memory follows
the pairs that can still win and not all pairs there are.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vocabkit.tokenizer.base import SEPARATOR, NewToken, Spelling, Tokenizer, Units

DEAD = -2
Positions = NDArray[np.int32]
# Pairs are first filtered by the summed count of a hash bucket: 2**22 buckets are 32 MB.
HASH_BITS = 22
HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, Knuth's multiplicative hash


def learn_merges(
    base: Tokenizer,
    units: Units,
    weights: NDArray[np.int64],
    *,
    size: int,
    may_learn: Callable[[bytes], bool],
    min_count: int = 2,
    progress: Callable[[int], None] | None = None,
) -> list[NewToken]:
    """Return up to `size` new tokens in the order in which they were learned.

    units: the spans as `base` segments them.  weights: [S] occurrences of each span.
    may_learn: whether a token may enter the vocabulary; one that may not is never a part of another.
    min_count: a token is learned only when it replaces at least this many occurrences.
    Every prefix of the result is what a smaller `size` would have given.
    """
    state = _State(base, units, weights, may_learn)
    threshold = state.first_threshold(size, min_count)
    while True:
        state.index(threshold)
        state.run(size, threshold, progress)
        if len(state.learned) >= size or threshold <= min_count:
            return state.learned
        # A third is where rebuilding (one sort) and carrying rare pairs cost about the same on 100 MB of Chinese.
        threshold = max(min_count, threshold // 3)


@dataclass
class _Step:
    """The next token on the way to spelling some characters with one token."""

    token: NewToken
    units: list[int]
    count: int


class _State:
    def __init__(
        self, base: Tokenizer, units: Units, weights: NDArray[np.int64], may_learn: Callable[[bytes], bool]
    ) -> None:
        self.base = base
        self.may_learn = may_learn
        self.learned: list[NewToken] = []
        spellings, ids = _in_order(base.size, units)
        self.first_new = base.size + len(spellings)
        self.text: list[bytes | None] = [base.token_bytes(i) for i in range(base.size)]
        self.text += [spelling.token for spelling in spellings]
        # SEPARATOR and DEAD read the two last entries, which are never active.
        self.active = np.zeros(self.first_new + 2, np.bool_)
        self.active[: base.size] = [token is not None for token in self.text[: base.size]]
        self.new_ids: dict[bytes, int] = {}
        self.s = np.concatenate([np.array([SEPARATOR], np.int32), ids, np.array([SEPARATOR], np.int32)])
        self.w = np.concatenate([[0], weights[units.span], [0]]).astype(np.int64)
        self._link()
        self.where: dict[int, list[Positions]] = {}
        self.halves = _halves(self.text[: base.size], may_learn) if base.joins_anything() else {}
        self.pairs: dict[int, Positions] = {}
        self.closed: dict[int, Positions] = {}
        self.heap: list[tuple[int, int, int | bytes]] = []
        self.spellings = spellings
        self.steps = self._first_steps()
        self.done = [0] * len(spellings)

    # --- choosing the thresholds ---------------------------------------------------------------------------

    def first_threshold(self, size: int, min_count: int) -> int:
        """Return half the count that `size` pairs of the corpus reach, once every character is one token.

        The last token learned occurs about that often, so that most runs index the corpus once.
        """
        i, keys = self._neighbours(self.s >= 0)
        counts = np.bincount(_bucket(keys), weights=self.w[i])
        counts = counts[counts > 0]
        if len(counts) <= size:
            return min_count
        return max(min_count, int(np.partition(counts, len(counts) - size)[len(counts) - size]) // 2)

    def _neighbours(self, is_unit: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return the places where two units stand side by side, and the keys of these pairs."""
        i = np.flatnonzero(is_unit[:-1] & is_unit[1:])
        return i, self.s[i].astype(np.int64) << 32 | self.s[i + 1]

    # --- the index -----------------------------------------------------------------------------------------

    def index(self, threshold: int) -> None:
        """Squeeze out dead positions and index every pair that occurs at least `threshold` times."""
        self._compact()
        self.pairs.clear()
        self.heap = [(-step.count, 0, token) for token, step in self.steps.items()]
        i, keys = self._neighbours(self.active[self.s])
        likely = np.bincount(_bucket(keys), weights=self.w[i])[_bucket(keys)] >= threshold
        i, keys = i[likely], keys[likely]
        self._add_pairs(keys, i.astype(np.int32), threshold)
        heapq.heapify(self.heap)
        closed = np.flatnonzero((self.s >= self.base.size) & ~self.active[self.s])
        order = closed[np.argsort(self.s[closed], kind="stable")].astype(np.int32)
        units, starts = np.unique(self.s[order], return_index=True)
        self.closed = dict(zip(units.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}

    def _compact(self) -> None:
        alive = self.s != DEAD
        if alive.all():
            return
        moved = (np.cumsum(alive) - 1).astype(np.int32)
        for token_id, parts in self.where.items():
            kept = np.concatenate(parts)
            self.where[token_id] = [moved[kept[self.s[kept] == token_id]]]
        self.s, self.w = self.s[alive], self.w[alive]
        self._link()

    def _link(self) -> None:
        self.next = np.arange(1, len(self.s) + 1, dtype=np.int32)
        self.prev = np.arange(-1, len(self.s) - 1, dtype=np.int32)

    def _add_pairs(self, keys: NDArray[np.int64], positions: Positions, threshold: int) -> None:
        """Group positions by pair and remember the pairs that occur at least `threshold` times."""
        if not len(keys):
            return
        order = np.argsort(keys, kind="stable")
        keys, positions = keys[order], positions[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        counts = np.add.reduceat(self.w[positions], starts)
        ends = np.append(starts[1:], len(keys))
        often = np.flatnonzero(counts >= threshold)
        columns = (keys[starts[often]], counts[often], starts[often], ends[often])
        found = zip(*(column.tolist() for column in columns), strict=True)
        for key, count, start, end in found:
            self.pairs[key] = positions[start:end]
            heapq.heappush(self.heap, (-count, 1, key))

    # --- the greedy loop -----------------------------------------------------------------------------------

    def run(self, size: int, threshold: int, progress: Callable[[int], None] | None) -> None:
        """Learn tokens until `size` are learned or nothing occurs `threshold` times any more."""
        while self.heap and len(self.learned) < size:
            negative, _, key = self.heap[0]
            if -negative < threshold:
                return
            heapq.heappop(self.heap)
            if isinstance(key, bytes):
                self._take_step(key, threshold)
            else:
                self._take_pair(key, -negative, threshold)
            if progress and len(self.learned) % 64 == 0:
                progress(len(self.learned))

    def _take_pair(self, key: int, count: int, threshold: int) -> None:
        places = self.pairs.pop(key, None)
        if places is None:
            return
        left, right = key >> 32, key & 0xFFFFFFFF
        standing = self._standing(places, left, right)
        places = self._without_overlaps(standing) if left == right else standing
        now = int(self.w[places].sum())
        if now < count:
            # Counts of a known pair only fall, so the first one that is true at the top is the greatest.
            if now >= threshold:
                # With its overlaps: in 哈哈哈 the second pair stands again when the first 哈 goes elsewhere.
                self.pairs[key] = standing
                heapq.heappush(self.heap, (-now, 1, key))
            return
        first, second = self.text[left] or b"", self.text[right] or b""
        token = first + second
        known = self._find(token)
        if known is None and self.may_learn(token) and not self._overlaps_itself(token):
            known = self._new_id(token)
            self.learned.append(NewToken(token, (first, second), now))
        elif known is None or known < self.first_new:
            return
        self._join(known, [(left, right, places), *self._other_splits(token, left, right)], threshold)

    def _take_step(self, token: bytes, threshold: int) -> None:
        """Learn the next token of a character's spelling, and open the characters it completes."""
        step = self.steps.pop(token)
        if self._find(token) is not None or not self.may_learn(token):
            return
        self.learned.append(NewToken(token, step.token.parts, step.count))
        following: dict[bytes, _Step] = {}
        for unit in step.units:
            number = unit - self.base.size
            self.done[number] += 1
            steps = self.spellings[number].steps
            if self.done[number] == len(steps):
                self._open(unit, threshold)
            else:
                self._join_step(following, unit, steps[self.done[number]])
        for next_token, next_step in following.items():
            self.steps[next_token] = next_step
            heapq.heappush(self.heap, (-next_step.count, 0, next_token))

    # --- spelling characters -------------------------------------------------------------------------------

    def _first_steps(self) -> dict[bytes, _Step]:
        steps: dict[bytes, _Step] = {}
        self.occurrences = np.bincount(np.maximum(self.s, 0), weights=self.w, minlength=self.first_new)
        for number, spelling in enumerate(self.spellings):
            self._join_step(steps, self.base.size + number, spelling.steps[0])
        return steps

    def _join_step(self, steps: dict[bytes, _Step], unit: int, token: NewToken) -> None:
        count = int(self.occurrences[unit]) * self.spellings[unit - self.base.size].saved
        step = steps.setdefault(token.token, _Step(token, [], 0))
        step.units.append(unit)
        step.count += count

    def _open(self, unit: int, threshold: int) -> None:
        """Let a character that is one token now take part in merges."""
        self.active[unit] = True
        self.new_ids[self.text[unit] or b""] = unit
        places = self.closed.pop(unit, np.empty(0, np.int32))
        self.where.setdefault(unit, []).append(places)
        self._count_beside(unit, places, threshold)
        self._complete(unit, places, threshold)

    # --- rewriting -----------------------------------------------------------------------------------------

    def _standing(self, places: Positions, left: int, right: int) -> Positions:
        """Return the places where the pair still stands."""
        standing: Positions = places[(self.s[places] == left) & (self.s[self.next[places]] == right)]
        return standing

    def _without_overlaps(self, places: Positions) -> Positions:
        """Return the places of a pair of equal units that can be joined from left to right."""
        kept = []
        taken = -1
        places = np.sort(places)
        for place, beyond in zip(places.tolist(), self.next[places].tolist(), strict=True):
            if place != taken:
                kept.append(place)
                taken = beyond
        return np.asarray(kept, np.int32)

    def _join(self, token_id: int, pairs: Iterable[tuple[int, int, Positions]], threshold: int) -> None:
        """Rewrite pairs of neighbours as `token_id` and count the pairs that this makes."""
        joined = []
        for left, right, places in pairs:
            places = self._standing(places, left, right)
            if left == right:
                places = self._without_overlaps(places)
            if len(places):
                beyond = self.next[places]
                after = self.next[beyond]
                self.s[places] = token_id
                self.s[beyond] = DEAD
                self.next[places] = after
                self.prev[after] = places
                joined.append(places)
        if not joined:
            return
        places = joined[0] if len(joined) == 1 else np.concatenate(joined)
        known = self.where.setdefault(token_id, [])
        known.append(places)
        everywhere = places
        if len(known) > 1 or token_id < self.base.size:
            # More places of a token that pairs were counted for before: count all of them again.
            everywhere = self._places_of(token_id)
        self._count_beside(token_id, everywhere, threshold)
        self._complete(token_id, places, threshold)

    def _places_of(self, token_id: int) -> Positions:
        if token_id < self.base.size:
            return np.flatnonzero(self.s == token_id).astype(np.int32)
        places: Positions = np.concatenate(self.where[token_id])
        distinct: Positions = np.unique(places[self.s[places] == token_id])
        return distinct

    def _count_beside(self, token_id: int, places: Positions, threshold: int) -> None:
        before, after = self.s[self.prev[places]], self.s[self.next[places]]
        left = self.active[before]
        # A run of the token is counted once, from its right member.
        right = self.active[after] & (after != token_id)
        keys = np.concatenate(
            [
                before[left].astype(np.int64) << 32 | token_id,
                np.int64(token_id) << 32 | after[right].astype(np.int64),
            ]
        )
        self._add_pairs(keys, np.concatenate([self.prev[places[left]], places[right]]), threshold)

    def _complete(self, token_id: int, places: Positions, threshold: int) -> None:
        """Join a token with the neighbours with which it spells a token that exists already."""
        for left, right in self.halves.get(self.text[token_id] or b"", ()):
            target, first, second = self._find(left + right), self._find(left), self._find(right)
            if target is None or first is None or second is None:
                continue
            places = places[self.s[places] == token_id]
            starts = self.prev[places] if second == token_id and first != token_id else places
            self._join(target, [(first, second, starts)], threshold)

    # --- tokens --------------------------------------------------------------------------------------------

    def _find(self, token: bytes) -> int | None:
        known = self.new_ids.get(token)
        return self.base.find(token) if known is None else known

    def _new_id(self, token: bytes) -> int:
        token_id = len(self.text)
        self.text.append(token)
        self.new_ids[token] = token_id
        if len(self.active) < token_id + 3:
            self.active = np.concatenate([self.active[:-2], np.zeros(len(self.active), np.bool_)])
        self.active[token_id] = True
        for half_pair in _splits(token):
            for half in half_pair:
                self.halves.setdefault(half, []).append(half_pair)
        return token_id

    def _other_splits(self, token: bytes, left: int, right: int) -> list[tuple[int, int, Positions]]:
        """Return the other pairs of neighbours that spell `token`, with their places."""
        others = []
        for first_half, second_half in _splits(token):
            first, second = self._find(first_half), self._find(second_half)
            if first is None or second is None or (first, second) == (left, right):
                continue
            places = self.pairs.pop(first << 32 | second, None)
            if places is None and second in self.where:
                places = self.prev[self._places_of(second)]
            if places is None and first in self.where:
                places = self._places_of(first)
            if places is not None:
                others.append((first, second, places))
        return others

    def _overlaps_itself(self, token: bytes) -> bool:
        """Whether two places of `token` can share a part, so that SentencePiece and tokenizers may disagree.

        SentencePiece joins the leftmost of equally good pairs, tokenizers the pair that is listed first: in
        哈哈|哈|哈哈 the one makes 哈哈哈|哈哈 and the other may make 哈哈|哈哈哈.
        """
        if self.base.family == "unigram":
            # 太太 in 太太太: 太太|太 and 太|太太 have the same sum, and only rounding would choose.
            return any(token.endswith(left) for left, _ in _splits(token))
        if not self.base.joins_anything():
            return False
        halves = [pair for pair in _splits(token) if all(self._find(half) is not None for half in pair)]
        lefts = {left for left, _ in halves}
        return any(right in lefts and left != right for left, right in halves)


def _in_order(size: int, units: Units) -> tuple[tuple[Spelling, ...], NDArray[np.int32]]:
    """Number the spellings by their bytes, so that nothing depends on the order in which spans were met."""
    order = sorted(
        range(len(units.spellings)),
        key=lambda i: (units.spellings[i].token, units.spellings[i].steps[0].parts),
    )
    rank = np.empty(size + len(order), np.int32)
    rank[:size] = np.arange(size)
    rank[size + np.asarray(order, np.intp)] = size + np.arange(len(order))
    ids = np.where(units.ids >= 0, rank[np.maximum(units.ids, 0)], units.ids)
    return tuple(units.spellings[i] for i in order), ids.astype(np.int32)


def _bucket(keys: NDArray[np.int64]) -> NDArray[np.intp]:
    mixed = keys.view(np.uint64) * HASH_FACTOR
    return (mixed >> np.uint64(64 - HASH_BITS)).astype(np.intp)


def _splits(token: bytes) -> list[tuple[bytes, bytes]]:
    """Return every way to cut `token` between two characters."""
    cuts = [i for i in range(1, len(token)) if not 0x80 <= token[i] < 0xC0]
    return [(token[:i], token[i:]) for i in cuts]


def _halves(
    tokens: Sequence[bytes | None], may_learn: Callable[[bytes], bool]
) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """Return the ways in which a token could be one half of an old token that `may_learn` allows."""
    halves: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for token in tokens:
        if token is not None and len(token) > 1 and may_learn(token):
            for pair in _splits(token):
                for half in pair:
                    halves.setdefault(half, []).append(pair)
    return halves
