"""Initialisers that read a corpus or a donor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vocabkit.errors import VocabkitError
from vocabkit.rows.corpus_vectors import corpus_vectors
from vocabkit.rows.focus import MIN_COUNT, focus, sparsemax
from vocabkit.rows.initializers import copy, subword_mean
from vocabkit.rows.omp import omp
from vocabkit.rows.request import Donor, OldRows, Pieces, RowRequest, Sources

OLD = np.random.default_rng(5).standard_normal((60, 10)).astype(np.float32)


def request(tokens: tuple[bytes, ...], **sources: object) -> RowRequest:
    pieces = Pieces.of([[1, 2]] * len(tokens))
    old_ids = {f"old{i}".encode(): i for i in range(60)}
    parents = np.full((len(tokens), 2), -1)
    return RowRequest("input", OldRows(OLD), pieces, parents, tokens, old_ids, sources=Sources(**sources))  # type: ignore[arg-type]


def two_topics(swapped: int) -> Callable[[], Iterator[list[int]]]:
    """Return documents of ids 0-29, or of 30-59, in which 60 stands where `swapped` may stand."""

    def documents() -> Iterator[list[int]]:
        generator = np.random.default_rng(0)
        for i in range(600):
            ids = generator.integers(0, 30, 20) + 30 * (i % 2)
            ids[ids == swapped] = np.where(generator.random((ids == swapped).sum()) < 0.5, 60, swapped)
            yield ids.tolist()

    return documents


def test_tokens_of_one_topic_get_similar_vectors() -> None:
    vectors, counts = corpus_vectors(two_topics(7)(), 62, width=8)
    assert counts.sum() == 600 * 20
    assert counts[61] == 0
    assert not vectors[61].any()
    assert np.allclose(np.linalg.norm(vectors[:61], axis=1), 1, atol=1e-5)
    likeness = vectors[:60] @ vectors[:60].T
    assert likeness[:30, :30].mean() > 0.5 > 0.1 > likeness[:30, 30:].mean()


def test_an_empty_corpus_has_no_vectors() -> None:
    vectors, counts = corpus_vectors([], 5)
    assert vectors.shape[0] == 5
    assert not vectors.any()
    assert not counts.any()


def test_the_same_corpus_gives_the_same_vectors() -> None:
    first, second = (corpus_vectors(two_topics(7)(), 62, seed=3)[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_sparsemax_is_the_nearest_point_of_the_simplex() -> None:
    scores = np.random.default_rng(1).standard_normal((50, 20)).astype(np.float32)
    points = sparsemax(scores)
    assert np.allclose(points.sum(1), 1, atol=1e-5)
    assert (points >= 0).all()
    assert (points == 0).mean() > 0.5
    others = np.random.default_rng(2).dirichlet(np.full(20, 0.3), 500)
    ours = np.square(points - scores).sum(1)
    assert (np.square(others[None] - scores[:, None]).sum(2) >= ours[:, None] - 1e-5).all()


def test_focus_mixes_rows_of_the_token_s_own_topic() -> None:
    asked = request((b"new", b"never seen"), documents=lambda size: two_topics(7)())
    made = focus(asked)
    vectors, counts = corpus_vectors(two_topics(7)(), 62)
    assert (counts[:60] >= MIN_COUNT).all()
    shares = sparsemax(vectors[60:61] @ vectors[:60].T)
    assert np.allclose(made[0], shares[0] @ OLD, atol=1e-5)
    assert shares[0, :30].sum() > 0.9
    assert np.array_equal(made[1], subword_mean(asked)[1])


def test_focus_and_omp_say_what_they_need() -> None:
    with pytest.raises(VocabkitError, match="--init-corpus"):
        focus(request((b"new",)))
    with pytest.raises(VocabkitError, match="--donor"):
        omp(request((b"new",)))


def donor(scale: float, shared: int) -> Callable[[Path], Donor]:
    """Return a donor whose rows are the base's by a linear map, and that has the token "new" as old 3 + old 4."""
    turn = np.random.default_rng(9).standard_normal((10, 16)).astype(np.float32) * scale
    rows = np.concatenate([OLD, OLD[[3]] + 2 * OLD[[4]]]) @ turn
    ids = {f"old{i}".encode(): i for i in range(shared)} | {"\u2581new".encode(): 60}
    return lambda folder: Donor(ids, {"input": OldRows(rows), "head": OldRows(rows)})


def test_omp_carries_a_sum_over_from_the_donor() -> None:
    asked = replace(request((b" new", b"unknown"), donor=donor(1.0, 60)), options={"donor": "anywhere", "k": "10"})
    made = omp(asked)
    # Ten atoms span the base's ten dimensions, so the sum is found whichever they are.
    assert np.allclose(made[0], OLD[3] + 2 * OLD[4], atol=1e-2)
    assert np.array_equal(made[1], subword_mean(asked)[1])


@pytest.mark.parametrize(("options", "message"), [({"k": "none"}, "k=none"), ({"k": "64"}, "fewer than k=64")])
def test_omp_refuses_in_one_line(options: dict[str, str], message: str) -> None:
    asked = replace(request((b"new",), donor=donor(1.0, 20)), options={"donor": "anywhere"} | options)
    with pytest.raises(VocabkitError, match=message) as caught:
        omp(asked)
    assert "\n" not in str(caught.value)


def test_a_marked_token_is_the_mean_of_both_ways_to_write_it() -> None:
    asked = request((b" new", b"new", b" "))
    asked = replace(asked, bare=lambda: Pieces.of([[3, 4], [1, 2], [1, 2]]))
    made, plain = copy(asked), subword_mean(asked)
    other = subword_mean(replace(asked, pieces=asked.bare().of_tokens([0]), tokens=(b"new",)))  # type: ignore[misc]
    assert np.allclose(made[0], (plain[0] + other[0]) / 2, atol=1e-6)
    assert np.array_equal(made[1:], plain[1:])


def test_copy_knows_spellings_and_word_boundaries() -> None:
    asked = replace(
        request(
            ("漢字".encode(), " 漢字".encode(), b" old9", b"\xe6\xbc", b""),
            variants=lambda text: [text.replace("漢", "汉")],
        ),
        old_ids={"汉字".encode(): 5, b"old9": 9},
    )
    made = copy(asked)
    assert np.array_equal(made[:3], OLD[[5, 5, 9]])
    assert np.array_equal(made[3:], subword_mean(asked)[3:])
