"""Stretches of a corpus in both segmentations: as the extended tokenizer writes them, and in the base's tokens."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vocabkit.rows.request import Pieces

# Ids of a window in the extended segmentation: enough for a token to be read in its sentence.
WINDOW_TOKENS = 48
# Windows are sorted by length within this many, so that little is padded and the order stays random.
SORTED_TOGETHER = 2048
# A corpus smaller than what was asked for is read this often at most.
EPOCHS = 4


@dataclass(frozen=True)
class Window:
    """Ids in the extended numbering.  first_new: the place of the first new token."""

    ids: tuple[int, ...]
    first_new: int


@dataclass(frozen=True)
class Batch:
    """Windows side by side, each after the id that a document begins after; 0 where there is nothing.

    ids, mask: [B, n + 1], the extended segmentation.
    old_ids, old_mask: [B, m + 1], the base's.
    ends: [B, n + 1], where in `old_ids` the last piece of each of `ids` stands.
    changed: [B, n + 1], 1 from the first new token of a window on.
    """

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    old_ids: NDArray[np.int64]
    old_mask: NDArray[np.int64]
    ends: NDArray[np.int64]
    changed: NDArray[np.int64]


def choose_windows(documents: Iterable[Sequence[int]], first: int, tokens: int, seed: int = 0) -> list[Window]:
    """Return windows that hold new tokens (ids from `first` on), in random order, `tokens` ids in all if there are.

    Windows with the rarest new tokens come first in the choice, so that as many as can be are seen.
    """
    windows = [window for ids in documents for window in _cut(ids, first)]
    generator = random.Random(seed)
    generator.shuffle(windows)
    seen: dict[int, int] = {}
    chosen: list[Window] = []
    left, enough = tokens, 1
    while windows and left > 0:
        # Windows with a token that was seen less than `enough` times; then twice as often, and so on.
        later = []
        for window in windows:
            new = [i for i in window.ids if i >= first]
            if left > 0 and any(seen.get(i, 0) < enough for i in new):
                chosen.append(window)
                left -= len(window.ids)
                for i in new:
                    seen[i] = seen.get(i, 0) + 1
            else:
                later.append(window)
        windows, enough = later, enough * 2
    once = list(chosen)
    for _ in range(EPOCHS - 1):
        if left <= 0:
            break
        for window in once:
            chosen.append(window)
            left -= len(window.ids)
            if left <= 0:
                break
    generator.shuffle(chosen)
    return chosen


def batches(
    windows: Sequence[Window], pieces: Pieces, first: int, start: int, *, tokens: int, seed: int = 0
) -> Iterator[Batch]:
    """Yield `windows` in batches of about `tokens` ids, windows of similar length together.

    pieces: the base's ids of every new token.  start: the id that a document begins after.
    """
    generator = random.Random(seed)
    for begin in range(0, len(windows), SORTED_TOGETHER):
        together: list[list[Window]] = [[]]
        for window in sorted(windows[begin : begin + SORTED_TOGETHER], key=lambda window: len(window.ids)):
            if together[-1] and (len(together[-1]) + 1) * len(window.ids) > tokens:
                together.append([])
            together[-1].append(window)
        generator.shuffle(together)
        for group in together:
            yield _batch(group, pieces, first, start)


def _cut(ids: Sequence[int], first: int) -> Iterator[Window]:
    for begin in range(0, len(ids), WINDOW_TOKENS):
        part = tuple(ids[begin : begin + WINDOW_TOKENS])
        first_new = next((place for place, i in enumerate(part) if i >= first), None)
        if first_new is not None:
            yield Window(part, first_new)


def _batch(windows: Sequence[Window], pieces: Pieces, first: int, start: int) -> Batch:
    lists = [[_old(i, pieces, first) for i in window.ids] for window in windows]
    width = 1 + max(len(window.ids) for window in windows)
    old_width = 1 + max(sum(map(len, parts)) for parts in lists)
    ids, mask, ends, changed = (np.zeros((len(windows), width), np.int64) for _ in range(4))
    old_ids, old_mask = (np.zeros((len(windows), old_width), np.int64) for _ in range(2))
    ids[:, 0] = old_ids[:, 0] = start
    for row, (window, parts) in enumerate(zip(windows, lists, strict=True)):
        size = len(window.ids)
        old = [i for part in parts for i in part]
        ids[row, 1 : size + 1] = window.ids
        mask[row, : size + 1] = 1
        old_ids[row, 1 : len(old) + 1] = old
        old_mask[row, : len(old) + 1] = 1
        ends[row, 1 : size + 1] = np.cumsum([len(part) for part in parts])
        changed[row, window.first_new + 1 : size + 1] = 1
    return Batch(ids, mask, old_ids, old_mask, ends, changed)


def _old(i: int, pieces: Pieces, first: int) -> Sequence[int]:
    if i < first:
        return (i,)
    found: list[int] = pieces.ids[pieces.starts[i - first] : pieces.starts[i - first + 1]].tolist()
    return found
