"""New rows by way of another model that has the tokens already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import VocabkitError
from vocabkit.rows.initializers import subword_mean
from vocabkit.rows.pursuit import matching_pursuit
from vocabkit.rows.request import OldRows, RowRequest

Rows = NDArray[np.float32]

DEFAULT_K = 64
# Tokens that both models have, those of the lowest ids first, which training made the most of.
MAX_ANCHORS = 20_000
# Shares of anchors with the shortest rows: tokens that were hardly ever trained.
UNTRAINED = 0.01
SPACE = "\u2581".encode()


def omp(request: RowRequest) -> Rows:
    """E_t = sum_j x_j E_{o_j}, where the donor's row of t is about sum_j x_j D_{o_j} over k old tokens o_j it shares.

    The o_j and x_j come from orthogonal matching pursuit among tokens that both models have.  A token that the donor
    does not have gets its subword mean.
    Options: donor, a model folder; k, tokens in a sum (64).
    Source: Goddard and Fernandes Neto, "Training-Free Tokenizer Transplantation via Orthogonal Matching Pursuit"
    (arXiv 2506.06607).
    Raises VocabkitError without a donor, or when it shares too few tokens.
    """
    options = request.options or {}
    folder, k = options.get("donor"), _positive(options.get("k", str(DEFAULT_K)))
    if not folder or request.sources.donor is None:
        raise VocabkitError("--init omp takes rows from another model; name its folder with --donor")
    donor = request.sources.donor(Path(folder))
    ids = {_bare(token): i for token, i in donor.ids.items()}
    rows = donor.rows[request.role]
    found = [(i, ids[_bare(token)]) for i, token in enumerate(request.tokens) if token and _bare(token) in ids]
    shared = sorted((old, ids[_bare(token)]) for token, old in request.old_ids.items() if _bare(token) in ids)
    shared = _trained(request.old, rows, shared[:MAX_ANCHORS])
    if len(shared) < k:
        raise VocabkitError(
            f"{folder} shares {len(shared):,} tokens with the base, fewer than k={k}; name another donor"
        )
    made = subword_mean(request)
    if not found:
        return made
    new, theirs = np.asarray(found).T
    anchors, their_anchors = np.asarray(shared).T
    chosen, weights = matching_pursuit(rows[theirs], rows[their_anchors], k)
    width = min(made.shape[1], request.old.shape[1])
    for begin in range(0, len(new), 1024):
        part = slice(begin, begin + 1024)
        ours = request.old[anchors[chosen[part]].ravel()].reshape(*chosen[part].shape, width)
        made[new[part]] = np.matmul(weights[part, None], ours)[:, 0]
    return made


def _bare(token: bytes) -> bytes:
    """Write the word-boundary mark of every family as a space."""
    return token.replace(SPACE, b" ")


def _trained(old: OldRows, rows: OldRows, shared: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if not shared:
        return []
    ours, theirs = np.asarray(shared).T
    kept = np.ones(len(shared), bool)
    for matrix, ids in ((old, ours), (rows, theirs)):
        norms = np.linalg.norm(matrix[ids], axis=1)
        kept &= norms >= np.quantile(norms, UNTRAINED)
    return [pair for pair, keep in zip(shared, kept, strict=True) if keep]


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise VocabkitError(f"--init-option k={text} is no number of tokens; write for example k=64")
    return int(text)
