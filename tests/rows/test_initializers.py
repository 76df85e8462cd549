"""Every initialiser against its formula, written out token by token."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from vocabkit.errors import CheckpointError
from vocabkit.plugins import Registry
from vocabkit.rows import initializers
from vocabkit.rows.distinct import made_distinct, repeated_rows
from vocabkit.rows.request import OldRows, Pieces, RowRequest

NEEDS_NOTHING = [
    "zeros", "random", "mean", "normal", "subword-mean", "subword-weighted", "first-piece", "last-piece",
    "merge-tree", "copy",
]  # fmt: skip
OLD = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32) + 1
# Old tokens 0-39; new 40 = (3, 4), 41 = (40, 5), 42 = five bytes, 43 = a special token, 44 = 40 in another order.
LISTS = [[3, 4], [3, 4, 5], [9, 9, 8, 7, 6], [], [4, 3]]
PARENTS = np.array([[3, 4], [40, 5], [-1, -1], [-1, -1], [4, 3]])


def request(role: str = "input", old: NDArray[np.float32] = OLD, **changed: object) -> RowRequest:
    tokens = (b"ab", b"abc", b" word", b"", b"ba")
    given = {"old_ids": {b"word": 12}, "seed": 7} | changed
    return RowRequest(role, OldRows(old), Pieces.of(LISTS), PARENTS, tokens, **given)  # type: ignore[arg-type]


def average(ids: list[int], weights: list[float]) -> NDArray[np.float64]:
    return np.average(OLD[ids].astype(np.float64), axis=0, weights=weights)


def test_zeros_random_and_mean() -> None:
    assert not initializers.zeros(request()).any()
    drawn = initializers.random(request(old=np.zeros((4, 20_000), np.float32)))
    assert np.std(drawn) == pytest.approx(0.02, rel=0.02)
    assert np.allclose(initializers.mean(request()), OLD.mean(0), atol=1e-6)


def test_normal_has_the_mean_and_covariance_of_the_old_rows() -> None:
    many = RowRequest(
        "input", OldRows(OLD), Pieces.of([[]] * 200_000), np.full((200_000, 2), -1), (b"",) * 200_000, {}
    )
    drawn = initializers.normal(many)
    assert np.allclose(drawn.mean(0), OLD.mean(0), atol=0.02)
    assert np.allclose(np.cov(drawn.T), np.cov(OLD.T), atol=0.03)


def test_subword_mean_is_tilted_by_less_than_it_can_be_measured() -> None:
    made = initializers.subword_mean(request())
    assert np.allclose(made[0], average([3, 4], [1 - 1 / 128, 1 + 1 / 128]), atol=1e-5)
    for row, ids in zip(made, LISTS, strict=True):
        expected = OLD[ids].mean(0) if ids else OLD.mean(0)
        assert np.abs(row - expected).max() < 0.05
    assert not np.array_equal(made[0], made[4])


def test_subword_weighted_is_last_heavy_in_the_input_and_first_heavy_in_the_head() -> None:
    first, last = [np.exp(-2.0 * i) for i in range(5)], [np.exp(2.0 * i) for i in range(5)]
    assert np.allclose(initializers.subword_weighted(request("input"))[2], average(LISTS[2], last), atol=1e-5)
    assert np.allclose(initializers.subword_weighted(request("head"))[2], average(LISTS[2], first), atol=1e-5)


def test_subword_weighted_has_no_overflow_on_long_tokens() -> None:
    long = RowRequest("input", OldRows(OLD), Pieces.of([list(range(40)) * 30]), np.array([[-1, -1]]), (b"x",), {})
    assert np.isfinite(initializers.subword_weighted(long)).all()


def test_first_and_last_piece_and_merge_tree() -> None:
    assert np.array_equal(initializers.first_piece(request())[2], OLD[9])
    assert np.array_equal(initializers.last_piece(request())[2], OLD[6])
    tree = initializers.merge_tree(request())
    assert np.allclose(tree[0], (OLD[3] + OLD[4]) / 2)
    assert np.allclose(tree[1], ((OLD[3] + OLD[4]) / 2 + OLD[5]) / 2)


def test_copy_takes_the_row_of_the_same_word_without_the_mark() -> None:
    made = initializers.copy(request())
    assert np.array_equal(made[2], OLD[12])
    assert np.array_equal(made[0], initializers.subword_mean(request())[0])


@pytest.mark.parametrize("name", NEEDS_NOTHING)
def test_the_bias_of_a_head_is_one_more_column(name: str, registry: Registry) -> None:
    bias = np.arange(40, dtype=np.float32)
    make = registry.initializer(name)
    plain = request("head")
    both = RowRequest(
        "head", OldRows(OLD, bias), plain.pieces, plain.parents, plain.tokens, plain.old_ids, seed=plain.seed
    )
    made = make(both)
    assert made.shape == (5, 9)
    if name in ("subword-mean", "first-piece", "merge-tree", "mean"):
        assert np.allclose(made[:, :8], make(plain), atol=1e-5)
        assert 0 <= made[0, 8] <= 39


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", NEEDS_NOTHING)
def test_no_two_new_rows_are_equal_whatever_makes_them(name: str, dtype: type, registry: Registry) -> None:
    lead_bytes = [[i % 6, 20 + i // 6 % 20, 20 + i // 120] for i in range(2000)]
    many = RowRequest(
        "head", OldRows(OLD), Pieces.of(lead_bytes), np.full((2000, 2), -1), tuple(b"%d" % i for i in range(2000)), {}
    )
    made = registry.initializer(name)(many)
    cast, moved = made_distinct(made, np.dtype(dtype), float(np.sqrt(np.square(OLD).mean())), 0, "test")
    assert not len(repeated_rows(cast))
    # Noise is only for those that need it, and small beside the rows.
    assert moved == len(repeated_rows(made.astype(dtype)))
    assert np.abs(cast.astype(np.float32) - made).max() < 0.25


def test_a_value_that_does_not_fit_the_format_is_told() -> None:
    with pytest.raises(CheckpointError, match="new rows hold values that float16 cannot; choose another --init"):
        made_distinct(np.full((1, 4), 1e6, np.float32), np.dtype(np.float16), 1.0, 0, "lm_head.weight")
