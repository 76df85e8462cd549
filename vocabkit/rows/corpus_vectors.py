"""Vectors of tokens from the company they keep in a corpus, without a model and without training by gradients.

Tokens that stand in the same surroundings get similar vectors.  Counts of neighbours are turned into positive
pointwise mutual information, and a truncated singular value decomposition makes them short and dense.
Source: Levy, Goldberg and Dagan, "Improving Distributional Similarity with Lessons Learned from Word Embeddings",
TACL 2015 (context distribution smoothing 0.75, singular values to the power 0.5); the decomposition is the randomised
one of Halko, Martinsson and Tropp, SIAM Review 2011.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Tokens to each side that count as neighbours: at distance d by (WINDOW + 1 - d) / WINDOW, the nearest most.
WINDOW = 5
# Columns of the count matrix: the most frequent tokens; the others hardly say anything about their neighbours.
CONTEXTS = 8_192
# Directions of the decomposition beyond those that are kept, and passes of power iteration.
OVERSAMPLED, PASSES = 20, 3
SMOOTHING = 0.75
# Pairs that are gathered before they are added up, and values of a block of the sparse product.
PAIRS_AT_A_TIME = 1 << 24
BLOCK_VALUES = 1 << 24


@dataclass(frozen=True)
class Cooccurrences:
    """A sparse matrix of weights, by rows.

    rows, columns: [nnz] int64, sorted by row, then column.  values: [nnz] float32.  shape: (rows, columns).
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]
    shape: tuple[int, int]

    def times(self, dense: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return this matrix times `dense`, [columns, d] -> [rows, d]."""
        return _sparse_times(self.rows, self.columns, self.values, dense, self.shape[0])

    def transposed(self) -> Cooccurrences:
        """Return the matrix with rows and columns exchanged."""
        order = np.argsort(self.columns, kind="stable")
        return Cooccurrences(
            self.columns[order], self.rows[order], self.values[order], (self.shape[1], self.shape[0])
        )


def corpus_vectors(
    documents: Iterable[Sequence[int]], size: int, *, width: int = 100, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return a vector of length 1 for each of `size` tokens, and how often each occurs.

    documents: token ids below `size`.  A token that does not occur, or has no neighbours, has the vector 0.
    width: of the vectors; fewer when the corpus has fewer different tokens.
    Returns [size, width] float32 and [size] int64.
    """
    texts = [np.asarray(ids, np.int64) for ids in documents]
    counts = np.bincount(np.concatenate([*texts, np.zeros(0, np.int64)]), minlength=size)
    contexts = np.argsort(-counts, kind="stable")[:CONTEXTS]
    contexts = np.sort(contexts[counts[contexts] > 0])
    weights = _ppmi(_count(texts, size, contexts))
    vectors = _left_vectors(weights, min(width, len(contexts)), seed)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0), counts


def _count(texts: Sequence[NDArray[np.int64]], size: int, contexts: NDArray[np.int64]) -> Cooccurrences:
    """Count neighbours within WINDOW, both sides; columns are the places of `contexts`."""
    column = np.full(size, -1, np.int64)
    column[contexts] = np.arange(len(contexts))
    width = max(len(contexts), 1)
    known_keys, known_values = np.zeros(0, np.int64), np.zeros(0, np.float64)
    keys: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float64]] = []
    waiting = 0

    def add_up() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        every, where = np.unique(np.concatenate([known_keys, *keys]), return_inverse=True)
        return every, np.bincount(where, np.concatenate([known_values, *weights]), len(every)).astype(np.float64)

    for ids in texts:
        for distance in range(1, WINDOW + 1):
            left, right = ids[:-distance], ids[distance:]
            for token, neighbour in ((left, right), (right, left)):
                place = column[neighbour]
                key = (token * width + place)[place >= 0]
                keys.append(key)
                weights.append(np.full(len(key), (WINDOW + 1 - distance) / WINDOW))
                waiting += len(key)
        if waiting >= PAIRS_AT_A_TIME:
            known_keys, known_values = add_up()
            keys, weights, waiting = [], [], 0
    known_keys, known_values = add_up()
    shape = (size, len(contexts))
    return Cooccurrences(known_keys // width, known_keys % width, known_values.astype(np.float32), shape)


def _ppmi(counts: Cooccurrences) -> Cooccurrences:
    """max(0, log(P(t, c) / (P(t) P(c)^0.75 / sum_c P(c)^0.75)))."""
    values = counts.values.astype(np.float64)
    total = values.sum()
    by_row = np.bincount(counts.rows, values, counts.shape[0])
    by_column = np.bincount(counts.columns, values, counts.shape[1]) ** SMOOTHING
    by_column /= max(by_column.sum(), 1e-300)
    information = np.log(values / (by_row[counts.rows] * by_column[counts.columns])) if total else values
    kept = information > 0
    return Cooccurrences(counts.rows[kept], counts.columns[kept], information[kept].astype(np.float32), counts.shape)


def _left_vectors(matrix: Cooccurrences, width: int, seed: int) -> NDArray[np.float32]:
    """Return U sqrt(S) of the first `width` singular triples, [rows, width]."""
    if not width or not len(matrix.values):
        return np.zeros((matrix.shape[0], width), np.float32)
    turned = matrix.transposed()
    directions = min(width + OVERSAMPLED, *matrix.shape)
    basis = np.random.default_rng(seed).standard_normal((matrix.shape[1], directions), np.float32)
    for _ in range(PASSES):
        basis, _ = np.linalg.qr(turned.times(np.linalg.qr(matrix.times(basis))[0]))
    # matrix ~ (matrix basis) basis^T: the small factor's singular vectors are the matrix's own.
    left, values, _ = np.linalg.svd(matrix.times(basis), full_matrices=False)
    vectors: NDArray[np.float32] = left[:, :width] * np.sqrt(values[:width])
    return vectors.astype(np.float32)


def _sparse_times(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[np.float32],
    dense: NDArray[np.float32],
    height: int,
) -> NDArray[np.float32]:
    product = np.zeros((height, dense.shape[1]), np.float32)
    step = max(1, BLOCK_VALUES // dense.shape[1])
    for begin in range(0, len(values), step):
        part = slice(begin, begin + step)
        scaled = dense[columns[part]] * values[part, None]
        firsts = np.flatnonzero(np.diff(rows[part], prepend=-1))
        product[rows[part][firsts]] += np.add.reduceat(scaled, firsts, axis=0)
    return product
