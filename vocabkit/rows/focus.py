"""New rows from old tokens that stand in similar surroundings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import VocabkitError
from vocabkit.rows.corpus_vectors import corpus_vectors
from vocabkit.rows.initializers import subword_mean
from vocabkit.rows.request import RowRequest

Rows = NDArray[np.float32]

# Similarities are computed for this many pairs of tokens at a time: 64 MB.
BLOCK_VALUES = 1 << 24
# Text that is read, at most.
MAX_BYTES = 32 << 20
# An old token is taken as a neighbour when the corpus holds it this often: a vector from less is noise.
MIN_COUNT = 10


def focus(request: RowRequest) -> Rows:
    """E_t = sum_o sparsemax_o(cos(f_t, f_o)) E_o over the old tokens o that the corpus holds.

    f are vectors that vocabkit computes itself from the corpus, in the new segmentation.  A token that the corpus
    does not hold gets its subword mean.
    Source: Dobler and de Melo, "FOCUS", EMNLP 2023; sparsemax: Martins and Astudillo, ICML 2016.
    Raises VocabkitError without a corpus.
    """
    documents = request.sources.documents
    if documents is None:
        raise VocabkitError("--init focus reads text; name it with --init-corpus")
    known = request.old.shape[0]
    vectors, counts = corpus_vectors(documents(MAX_BYTES), known + len(request), seed=request.seed)
    return from_neighbours(request, vectors, np.flatnonzero(counts[:known] >= MIN_COUNT))


def from_neighbours(request: RowRequest, vectors: Rows, old: NDArray[np.int64]) -> Rows:
    """Return the rows that `vectors` [V + M, d] make of the tokens `old`; subword means where they are 0."""
    made, known = subword_mean(request), request.old.shape[0]
    wanted = np.flatnonzero(np.any(vectors[known:], axis=1))
    if not len(old) or not len(wanted):
        return made
    rows, beside = request.old[old], vectors[old]
    step = max(1, BLOCK_VALUES // len(old))
    for begin in range(0, len(wanted), step):
        tokens = wanted[begin : begin + step]
        made[tokens] = sparsemax(vectors[known + tokens] @ beside.T) @ rows
    return made


def sparsemax(scores: Rows) -> Rows:
    """Return the point of the simplex nearest to each row of `scores`, [n, m]: mostly zeros, and a sum of 1."""
    down = -np.sort(-scores, axis=1)
    above = np.cumsum(down, axis=1, dtype=np.float64) - 1
    size = (down * np.arange(1, scores.shape[1] + 1) > above).sum(1)
    threshold = above[np.arange(len(scores)), size - 1] / size
    point: Rows = np.maximum(scores - threshold[:, None].astype(np.float32), 0)
    return point
