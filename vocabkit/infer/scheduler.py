"""Many texts at once: new ones join while others are being written, and leave when they are done."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vocabkit.infer.engine import Engine
from vocabkit.infer.sampling import Sampling, guided
from vocabkit.infer.writing import CANCELLED, Event, Writing, begun

# Tokens of prompts that are read in one step, so that those who are being written need not wait for long.
PROMPT_TOKENS = 512


class Scheduler:
    """Writes texts in the order in which they come, `max_batch` at a time.

    Row i of the cache belongs to the i-th active text; the text whose long prompt is being read has the row after.
    A row keeps what it holds when its text has ended, so a text that begins alike need not be read again.
    """

    def __init__(self, engine: Engine, *, max_batch: int = 16) -> None:
        self.engine, self.max_batch = engine, max_batch
        self._cache = engine.cache()
        self._waiting: deque[Writing] = deque()
        self._active: list[Writing] = []
        self._reading: Writing | None = None
        self._contents: list[list[int]] = []
        self.prompt_tokens_read = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._active or self._reading)

    @property
    def active(self) -> int:
        """How many texts are being read or written."""
        return sum(not one.is_shadow for one in self._active) + (self._reading is not None)

    @property
    def waiting(self) -> int:
        """How many texts wait for a row."""
        return len(self._waiting)

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values."""
        return self._cache.nbytes

    def submit(
        self, prompt: Sequence[int], sampling: Sampling, *, number: int = 0, negative: Sequence[int] | None = None
    ) -> Writing:
        """Take a prompt's ids; its tokens come out of `step`.  The arguments and errors of `begun`."""
        one = begun(self.engine, prompt, sampling, number=number, negative=negative)
        self._waiting.append(one)
        return one

    def cancel(self, writing: Writing) -> None:
        """End a text before its time; the next step says so."""
        writing.is_cancelled = True

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Read a part of what waits, write one token of every active text, and return what happened."""
        events = self._cancelled()
        events += self._read()
        if self._active:
            logits = self.engine.read(
                self._cache, 0, [one.rest for one in self._active], [one.held for one in self._active]
            )
            events += self._written(self._active, logits)
        return events

    def run(self) -> Iterator[Event]:
        """Yield events until nothing is left to do."""
        while not self.is_idle:
            yield from self.step()

    def _cancelled(self) -> list[Event]:
        gone = [one for one in [*self._waiting, *self._active, self._reading] if one and one.is_cancelled]
        for one in gone:
            if one in self._waiting:
                self._waiting.remove(one)
            else:
                self._leave(one)
        return [Event(one, None, "", CANCELLED) for one in gone]

    def _read(self) -> list[Event]:
        """Read prompts: the rest of a long one, or as many short ones as fit."""
        if self._reading is None:
            group = self._admitted()
            if not group:
                return []
            if len(group) > 1 or len(group[0].rest) <= PROMPT_TOKENS:
                return self._read_whole(group)
            self._reading = group[0]
            self._active.remove(group[0])
        one = self._reading
        part = one.rest[:PROMPT_TOKENS]
        logits = self.engine.read(self._cache, len(self._active), [part], [one.held])
        self._took(one, len(self._active), len(part))
        if one.rest:
            return []
        self._reading = None
        self._active.append(one)
        return self._written([one], logits)

    def _read_whole(self, group: list[Writing]) -> list[Event]:
        first = len(self._active) - len(group)
        rests = [one.rest for one in group]
        logits = self.engine.read(self._cache, first, rests, [one.held for one in group])
        for row, (one, rest) in enumerate(zip(group, rests, strict=True), first):
            self._took(one, row, len(rest))
        return self._written(group, logits)

    def _took(self, one: Writing, row: int, count: int) -> None:
        one.held += count
        self.prompt_tokens_read += count
        while len(self._contents) <= row:
            self._contents.append([])
        self._contents[row] = one.ids[: one.held]

    def _admitted(self) -> list[Writing]:
        """Make the first of those who wait active, as many as there are rows and as can be read at once."""
        group: list[Writing] = []
        longest = 0
        while self._waiting:
            one = self._waiting[0]
            needed = [one, one.shadow] if one.shadow else [one]
            room = self.max_batch - len(self._active)
            if len(needed) > room and not (len(needed) > self.max_batch and not self._active):
                break
            for row, each in enumerate(needed, len(self._active)):
                each.held = self._common(row, each.prompt)
            longest = max(longest, *(len(each.rest) for each in needed))
            # A pass is as long as its longest text; a long one goes alone, in parts.
            if group and (len(group) + len(needed)) * longest > PROMPT_TOKENS:
                break
            self._waiting.popleft()
            group += needed
            self._active += needed
            if longest * len(group) >= PROMPT_TOKENS:
                break
        return group

    def _common(self, row: int, prompt: Sequence[int]) -> int:
        """Return how many ids of a prompt a row holds already; the last one is read anyway, for its logits."""
        held = self._contents[row] if row < len(self._contents) else []
        count = 0
        for mine, theirs in zip(held, prompt[:-1], strict=False):
            if mine != theirs:
                break
            count += 1
        return count

    def _written(self, group: Sequence[Writing], logits: Tensor) -> list[Event]:
        """Choose the next token of every text from its logits, [B, V], and let those leave that are done."""
        rows = {one: row for row, one in enumerate(group)}
        for one in group:
            one.held = len(one.ids)
        texts = [one for one in group if not one.is_shadow]
        likeliest = logits.argmax(-1).tolist() if any(one.sampling.is_plain for one in texts) else []
        events = []
        for one in texts:
            mine = logits[rows[one]]
            if one.shadow:
                mine = guided(mine, logits[rows[one.shadow]], one.sampling.guidance)
            is_plain = one.sampling.is_plain and not one.shadow
            events.append(one.add(likeliest[rows[one]] if is_plain else one.chooser.choose(mine), mine))
        for event in events:
            if event.finish:
                self._leave(event.writing)
        return events

    def _leave(self, one: Writing) -> None:
        """Take a text from its row; the last ones take the place that becomes free."""
        if one is self._reading:
            self._reading = None
            return
        for each in [one, one.shadow] if one.shadow else [one]:
            row, last = self._active.index(each), len(self._active) - 1
            # What a row holds is kept: the next text may begin alike.
            self._contents[row] = each.ids[: each.held]
            if row != last:
                self._swap(row, last)
                self._active[row] = self._active[last]
            self._active.pop()
            if self._reading:
                self._swap(last, last + 1)

    def _swap(self, row: int, other: int) -> None:
        """Move what `other` holds to `row`; what `row` held is lost, for a copy of it would cost as much again."""
        moved = next((one for one in [*self._active[other : other + 1], self._reading] if one), None)
        places = moved.held if moved else 0
        self._cache.move(other, row, places)
        self._contents[row] = moved.ids[:places] if moved else []
        self._contents[other] = list(self._contents[row])
