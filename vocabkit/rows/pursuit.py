"""Orthogonal matching pursuit: write vectors as sums of a few others, many vectors at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

# The Gram matrix of this many atoms takes 2.5 GB; with more, correlations are computed from the residuals.
MAX_GRAM_ATOMS = 25_000
# Values of a block of residual correlations, or of the chosen atoms of a block: 64 MB.
BLOCK_VALUES = 1 << 24
# An atom that lies this near to the span of those chosen before adds nothing that float32 could tell from noise.
DEPENDENT = 1e-6


def matching_pursuit(targets: Floats, atoms: Floats, k: int, *, gram: bool | None = None) -> tuple[Places, Floats]:
    """Choose, for every target, `k` atoms one by one, each the most correlated with what is left of the target.

    The residual r = f - sum_j x_j a_j is never formed.  With the Gram matrix G = A A^T, and the chosen atoms made
    orthonormal to q_1 .. q_t one after the other, the correlations of all atoms with a new direction follow from rows
    that are there: A q_t = (G a_t - sum_j (q_j . a_t) A q_j) / s_t, and those of the residual lose (q_t . f) A q_t.
    That is N t products per atom chosen, not N d.
    Source: Rubinstein, Zibulevsky and Elad, "Efficient Implementation of the K-SVD Algorithm using Batch Orthogonal
    Matching Pursuit", Technion 2008; kept here are the directions' correlations instead of the Cholesky factor's.

    targets: [M, d].  atoms: [N, d]; chosen by |a . r| as they are, not normalised.
    gram: use the Gram matrix (N x N); by default where it fits and is faster.
    Returns the atoms' places [M, k] in the order they were chosen, and their weights [M, k].
    """
    k = min(k, *atoms.shape)
    if gram is None:
        gram = len(atoms) <= MAX_GRAM_ATOMS and len(atoms) < 2 * k * len(targets)
    chosen, weights = np.zeros((len(targets), k), np.int64), np.zeros((len(targets), k), np.float32)
    between = atoms @ atoms.T if gram else None
    step = max(1, BLOCK_VALUES // max(len(atoms), k * atoms.shape[1] // 4))
    for begin in range(0, len(targets), step):
        block = slice(begin, begin + step)
        if between is None:
            chosen[block], weights[block] = _by_residuals(targets[block], atoms, k)
            continue
        for place, start in enumerate(targets[block] @ atoms.T, begin):
            chosen[place], weights[place] = _by_gram(start, between, k)
    return chosen, weights


def _by_gram(start: Floats, between: Floats, k: int) -> tuple[Places, Floats]:
    """Pursue one target.  start: its correlations with all atoms, [N].  between: the Gram matrix, [N, N]."""
    chosen = np.zeros(k, np.int64)
    usable = np.zeros(k, np.bool_)
    # directions: A q_j of every direction so far, [t, N].
    directions = np.zeros((k, len(start)), np.float32)
    left = start.copy()
    for t in range(k):
        size = np.abs(left)
        size[chosen[:t]] = -1
        new = chosen[t] = size.argmax()
        shadow = directions[:t, new].copy()
        rest = float(between[new, new]) - float(shadow @ shadow)
        if rest <= DEPENDENT * float(between[new, new]):
            continue
        usable[t] = True
        direction = directions[t]
        np.subtract(between[new], shadow @ directions[:t], out=direction)
        direction *= np.float32(rest**-0.5)
        left -= (left[new] * np.float32(rest**-0.5)) * direction
    weights = np.zeros(k, np.float32)
    kept = chosen[usable]
    weights[usable] = np.linalg.solve(between[np.ix_(kept, kept)].astype(np.float64), start[kept].astype(np.float64))
    return chosen, weights


def _by_residuals(targets: Floats, atoms: Floats, k: int) -> tuple[Places, Floats]:
    """Pursue a block of targets together, for vocabularies whose Gram matrix is too large.

    The least squares problem for the weights grows by a row of the inverse Cholesky factor of G at a time.
    """
    number = np.arange(len(targets))
    chosen = np.zeros((len(targets), k), np.int64)
    # inverse: L^-1 of the Gram matrix L L^T of the chosen atoms.  reduced: L^-1 A f.  x = L^-T L^-1 A f.
    inverse = np.zeros((len(targets), k, k), np.float64)
    reduced = np.zeros((len(targets), k), np.float64)
    weights = np.zeros((len(targets), 0), np.float64)
    left = targets
    for t in range(k):
        size = np.abs(left @ atoms.T)
        size[number[:, None], chosen[:, :t]] = -1
        new = chosen[:, t] = size.argmax(1)
        with_others = np.matmul(atoms[chosen[:, : t + 1]], atoms[new][:, :, None])[..., 0].astype(np.float64)
        before = inverse[:, :t, :t]
        shadow = np.matmul(before, with_others[:, :t, None])[..., 0]
        rest = with_others[:, t] - np.square(shadow).sum(1)
        usable = rest > DEPENDENT * with_others[:, t]
        scale = np.where(usable, 1 / np.sqrt(np.where(usable, rest, 1)), 0)
        inverse[:, t, :t] = -np.matmul(shadow[:, None], before)[:, 0] * scale[:, None]
        inverse[:, t, t] = scale
        straight = (targets * atoms[new]).sum(1, dtype=np.float64)
        reduced[:, t] = (straight - (shadow * reduced[:, :t]).sum(1)) * scale
        weights = np.matmul(reduced[:, None, : t + 1], inverse[:, : t + 1, : t + 1])[:, 0]
        left = targets - np.matmul(weights[:, None].astype(np.float32), atoms[chosen[:, : t + 1]])[:, 0]
    return chosen, weights.astype(np.float32)
