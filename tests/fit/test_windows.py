"""Windows of a corpus: both segmentations side by side."""

from __future__ import annotations

import random

import numpy as np

from vocabkit.fit.windows import EPOCHS, WINDOW_TOKENS, batches, choose_windows
from vocabkit.rows.request import Pieces

FIRST = 100
PIECES = Pieces.of([[1, 2, 3], [4, 5], [], [6, 7, 8, 9]])
OLD_OF = {100: [1, 2, 3], 101: [4, 5], 103: [6, 7, 8, 9]}


def documents(count: int, rare: int = 1) -> list[list[int]]:
    """Return documents in which 100 is common, 101 stands in `rare` of them, 103 nowhere."""
    generator = random.Random(1)
    made = [[generator.choice([11, 12, 13, 100]) for _ in range(generator.randint(1, 120))] for _ in range(count)]
    for ids in made[:rare]:
        ids[len(ids) // 2] = 101
    return made


def test_every_place_ends_where_its_last_piece_ends() -> None:
    windows = choose_windows(documents(50), FIRST, 10**6)
    seen = 0
    for batch in batches(windows, PIECES, FIRST, 99, tokens=200):
        for row in range(len(batch.ids)):
            ids = batch.ids[row][batch.mask[row] == 1].tolist()
            old = batch.old_ids[row][batch.old_mask[row] == 1].tolist()
            ends = batch.ends[row][: len(ids)]
            assert ids[0] == old[0] == 99
            for place in range(1, len(ids)):
                piece = old[ends[place - 1] + 1 : ends[place] + 1]
                assert piece == OLD_OF.get(ids[place], [ids[place]])
            assert ends[-1] == len(old) - 1
            changed = batch.changed[row]
            first_new = next(place for place, i in enumerate(ids) if i >= FIRST)
            assert changed.nonzero()[0].tolist() == list(range(first_new, len(ids)))
            seen += 1
    assert seen == len(windows)


def test_windows_are_short_and_all_hold_new_tokens() -> None:
    windows = choose_windows([*documents(50), [11] * 500], FIRST, 10**6)
    assert all(0 < len(window.ids) <= WINDOW_TOKENS and max(window.ids) >= FIRST for window in windows)
    assert all(window.ids[window.first_new] >= FIRST for window in windows)


def test_a_small_budget_takes_the_rare_tokens_first() -> None:
    many = documents(4000, rare=3)
    windows = choose_windows(many, FIRST, 2_000)
    assert sum(len(window.ids) for window in windows) < 2_000 + WINDOW_TOKENS
    assert sum(101 in window.ids for window in windows) == 3


def test_a_small_corpus_is_read_again_a_few_times() -> None:
    few = documents(5)
    once = choose_windows(few, FIRST, 1)
    assert len(once) == 1
    again = choose_windows(few, FIRST, 10**6)
    assert len(again) == EPOCHS * len(set(again))
    assert choose_windows([[11, 12]], FIRST, 100) == []


def test_the_seed_decides() -> None:
    first, second, other = (choose_windows(documents(50), FIRST, 1_000, seed) for seed in (0, 0, 1))
    assert first == second != other
    cuts = [[batch.ids for batch in batches(first, PIECES, FIRST, 99, tokens=100, seed=seed)] for seed in (4, 4)]
    assert all(np.array_equal(a, b) for a, b in zip(*cuts, strict=True))
