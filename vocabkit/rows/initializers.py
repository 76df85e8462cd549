"""Initialisers that need nothing but the old rows: one plain function each, with its formula and source.

An initialiser takes a `RowRequest` and returns [M, width] float32.  E are the old rows, t_1 ... t_n the old
pieces of a new token t.  A token without pieces (a new special token) gets the mean of all old rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vocabkit.rows.request import RowRequest

Rows = NDArray[np.float32]

# Rows of pieces are gathered for this many values at a time.
BLOCK_VALUES = 1 << 24
# GPT-2's standard deviation, which most trainings still start from.
RANDOM_STD = 0.02
# How much more the last piece weighs than the first in `subword_mean`: enough to tell 着 from a twin with the same
# bytes in another order, too little to measure.
ORDER = 1 / 32
# How the families write the beginning of a word.
MARKS = (b" ", "\u2581".encode())


def zeros(request: RowRequest) -> Rows:
    """E_t = 0.  In an output head this gives every new token the logit 0, which may be above all others."""
    return np.zeros((len(request), request.old.shape[1]), np.float32)


def random(request: RowRequest) -> Rows:
    """E_t ~ N(0, 0.02 I), the usual start of a training from scratch; the worst choice in every study."""
    generator = np.random.default_rng(request.seed)
    drawn = generator.standard_normal((len(request), request.old.shape[1]), np.float32)
    return drawn * np.float32(RANDOM_STD)


def mean(request: RowRequest) -> Rows:
    """E_t = mean(E): the new tokens together take at most log(1 + M / V) from the old ones.

    Source: Hewitt, "Initializing New Word Embeddings for Pretrained Language Models", 2021.
    """
    return np.repeat(request.old.mean[None], len(request), 0)


def normal(request: RowRequest) -> Rows:
    """E_t ~ N(mean(E), cov(E)), drawn through a Cholesky factor of the covariance.

    Source: Hewitt, 2021, as above.
    """
    centre = request.old.mean
    covariance = np.zeros((len(centre), len(centre)), np.float64)
    for block in request.old.blocks():
        covariance += (block - centre).T @ (block - centre)
    covariance /= max(request.old.shape[0] - 1, 1)
    # Rows may span less than the whole space: a millionth of the mean variance makes the factor exist.
    covariance[np.diag_indices_from(covariance)] += 1e-6 * np.trace(covariance) / len(centre) + 1e-12
    factor = np.linalg.cholesky(covariance).astype(np.float32)
    drawn = np.random.default_rng(request.seed).standard_normal((len(request), len(centre)), np.float32)
    made: Rows = centre + drawn @ factor.T
    return made


def subword_mean(request: RowRequest) -> Rows:
    """E_t = sum_i w_i E_{t_i} with w_i = 1/n, tilted by 1/32 from the first piece to the last.

    Without the tilt 3,182 of the 23,295 new rows of Chinese-LLaMA-2 are identical to another one: their
    characters are written with the same bytes in another order.
    Source: the mean is FVT (Gee et al., "Fast Vocabulary Transfer", EMNLP 2022).
    """
    length = np.maximum(request.pieces.lengths, 1)[request.pieces.owner]
    tilt = 2 * (request.pieces.position + 0.5) / length - 1
    return combined(request, 1 + ORDER / 2 * tilt)


def subword_weighted(request: RowRequest) -> Rows:
    """E_t = sum_i softmax_i(2 i) E_{t_i}, last piece heaviest; in the output head softmax_i(-2 i), first heaviest.

    In log space: exp(2 i) overflows from 45 pieces on.
    Source: AdaptiVocab (arXiv 2503.19693).
    """
    position = request.pieces.position.astype(np.float64)
    if request.role == "head":
        return combined(request, np.exp(-2 * position))
    last = request.pieces.lengths[request.pieces.owner] - 1
    return combined(request, np.exp(2 * (position - last)))


def first_piece(request: RowRequest) -> Rows:
    """E_t = E_{t_1}.  In a head it bounds P(t) by P(t_1); on bytes thousands of tokens share one first piece."""
    return combined(request, (request.pieces.position == 0).astype(np.float64))


def last_piece(request: RowRequest) -> Rows:
    """E_t = E_{t_n}: what the model had read when the token was complete."""
    last = request.pieces.lengths[request.pieces.owner] - 1
    return combined(request, (request.pieces.position == last).astype(np.float64))


def merge_tree(request: RowRequest) -> Rows:
    """E_t = (E_l + E_r) / 2 over the two tokens t was merged from, and so on down to old ones.

    A token without merge gets its subword mean.
    """
    made = subword_mean(request)
    known = request.old.shape[0]
    for i, (left, right) in enumerate(request.parents.tolist()):
        if left < 0 or right < 0:
            continue
        halves = [made[part - known] if part >= known else request.old[part] for part in (left, right)]
        made[i] = (halves[0] + halves[1]) / 2
    return made


def copy(request: RowRequest) -> Rows:
    """E_t = E_s for an old token s with the same text but for spelling or word-boundary mark.

    Spellings are the language's: Chinese has Simplified and Traditional (extra `zh`).  Without such an s, a token
    that begins with the mark gets half its subword mean and half that of its text without the mark, since the mark
    is joined to pieces that mean something else (the first byte of a character); any other its subword mean.
    """
    return copied_from(request, twins(request))


def copied_from(request: RowRequest, twins: Sequence[int | None]) -> Rows:
    """Return the rows of `copy`, given each new token's old twin."""
    made = subword_mean(request)
    marked = [i for i, token in enumerate(request.tokens) if without_mark(token) not in (b"", token)]
    if request.bare is not None and marked:
        bare = replace(
            request, pieces=request.bare().of_tokens(marked), tokens=tuple(request.tokens[i] for i in marked)
        )
        made[marked] = (made[marked] + subword_mean(bare)) / np.float32(2)
    for i, found in enumerate(twins):
        if found is not None:
            made[i] = request.old[found]
    return made


def twins(request: RowRequest) -> list[int | None]:
    """Return, for every new token, the old one whose row `copy` takes."""
    return [
        next((old for twin in _twins(request, token) if (old := request.old_ids.get(twin)) is not None), None)
        for token in request.tokens
    ]


def without_mark(token: bytes) -> bytes:
    """Return a token's bytes without the word-boundary mark that it begins with."""
    for mark in MARKS:
        if token.startswith(mark):
            return token.removeprefix(mark)
    return token


def _twins(request: RowRequest, token: bytes) -> Iterator[bytes]:
    if not token:
        return
    spellings = [token]
    if request.sources.variants:
        with suppress(UnicodeDecodeError):  # a part of a character
            spellings += [text.encode() for text in request.sources.variants(token.decode())]
    for spelling in spellings:
        bare = without_mark(spelling)
        yield from (twin for twin in (spelling, bare, *(mark + bare for mark in MARKS)) if twin and twin != token)


def combined(request: RowRequest, weights: NDArray[np.float64]) -> Rows:
    """Return sum_i w_i E_{t_i} / sum_i w_i for every token.

    weights: [sum of lengths], one per piece, not negative.
    """
    pieces, width = request.pieces, request.old.shape[1]
    made = np.repeat(request.old.mean[None], len(request), 0)
    total = np.bincount(pieces.owner, weights, len(request))
    share = (weights / np.maximum(total, np.finfo(np.float64).tiny)[pieces.owner]).astype(np.float32)
    with_pieces = np.flatnonzero(pieces.lengths)
    at_a_time = max(1, BLOCK_VALUES // (width * max(1, int(pieces.lengths.max(initial=1)))))
    for begin in range(0, len(with_pieces), at_a_time):
        tokens = with_pieces[begin : begin + at_a_time]
        # Tokens without pieces have none in between, so the pieces of a block are one stretch.
        first, last = pieces.starts[tokens[0]], pieces.starts[tokens[-1] + 1]
        gathered = request.old[pieces.ids[first:last]] * share[first:last, None]
        made[tokens] = np.add.reduceat(gathered, pieces.starts[tokens] - first, axis=0)
    return made
