"""Orthogonal matching pursuit: write vectors as sums of a few others, many vectors at once."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

# Correlations of a block of targets with all atoms: 64 MB.
BLOCK_VALUES = 1 << 24
# The Gram matrix of this many atoms takes 2.5 GB; with more, correlations are computed from the residuals.
MAX_GRAM_ATOMS = 25_000
# Columns of the Gram matrix that are multiplied together, so that they stay in the processor's cache.
GRAM_COLUMNS = 64
# An atom that lies this near to the span of those chosen before adds nothing that float32 could tell from noise.
DEPENDENT = 1e-6


def matching_pursuit(
    targets: Floats, atoms: Floats, k: int, *, gram: bool | None = None
) -> tuple[NDArray[np.int64], Floats]:
    """Choose, for every target, `k` atoms one by one, each the most correlated with what is left of the target.

    The residual r = f - sum_j x_j a_j is never formed: with the Gram matrix G = A A^T its correlations are
    A r = A f - G x, which costs as many products per atom as atoms are chosen, not as many as vectors are wide.  The
    least squares problem for x grows by a row of the inverse Cholesky factor of G at a time.
    Source: Rubinstein, Zibulevsky and Elad, "Efficient Implementation of the K-SVD Algorithm using Batch Orthogonal
    Matching Pursuit", Technion 2008.

    targets: [M, d].  atoms: [N, d]; chosen by |a . r| as they are, not normalised.
    gram: use the Gram matrix; by default where it is faster, fits, and torch is installed to multiply by it.
    Returns the atoms' places [M, k] in the order they were chosen, and their weights [M, k].
    """
    k = min(k, *atoms.shape)
    chosen, weights = np.zeros((len(targets), k), np.int64), np.zeros((len(targets), k), np.float32)
    if gram is None:
        gram = find_spec("torch") is not None and len(atoms) <= MAX_GRAM_ATOMS and atoms.shape[1] > 8 * k
    products: _Products = _Gram(atoms) if gram else _Residuals(atoms)
    step = max(1, BLOCK_VALUES // max(len(atoms), k * atoms.shape[1] // 4))
    for begin in range(0, len(targets), step):
        block = slice(begin, begin + step)
        chosen[block], weights[block] = _pursue(targets[block], atoms, k, products)
    return chosen, weights


class _Products(Protocol):
    """Two ways to the same figures."""

    def left(self, targets: Floats, start: Floats, chosen: Places, weights: Floats) -> Floats:
        """Return the correlations of what is left with all atoms, [B, N].  start: those of the whole targets."""
        ...

    def between(self, chosen: Places, new: Places) -> NDArray[np.float64]:
        """Return a_j . a_new for every chosen atom j, [B, t]."""
        ...


class _Residuals:
    def __init__(self, atoms: Floats) -> None:
        self._atoms = atoms

    def left(self, targets: Floats, start: Floats, chosen: Places, weights: Floats) -> Floats:
        del start
        found: Floats = (targets - np.matmul(weights[:, None], self._atoms[chosen])[:, 0]) @ self._atoms.T
        return found

    def between(self, chosen: Places, new: Places) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.matmul(self._atoms[chosen], self._atoms[new][:, :, None])[..., 0].astype(
            np.float64
        )
        return found


class _Gram:
    """G in stripes of columns, [stripes, N, GRAM_COLUMNS]: a stripe at a time stays in the cache."""

    def __init__(self, atoms: Floats) -> None:
        self._stripes = np.zeros((-(-len(atoms) // GRAM_COLUMNS), len(atoms), GRAM_COLUMNS), np.float32)
        for stripe, begin in zip(self._stripes, range(0, len(atoms), GRAM_COLUMNS), strict=True):
            columns = atoms[begin : begin + GRAM_COLUMNS]
            np.matmul(atoms, columns.T, out=stripe[:, : len(columns)])

    def left(self, targets: Floats, start: Floats, chosen: Places, weights: Floats) -> Floats:
        import torch

        del targets
        height, width = chosen.shape
        order = chosen.argsort(1)
        with warnings.catch_warnings():
            # torch calls its sparse matrices a beta, once.
            warnings.simplefilter("ignore", UserWarning)
            sparse: Any = torch.sparse_csr_tensor(
                torch.arange(0, height * width + 1, width),
                torch.from_numpy(np.take_along_axis(chosen, order, 1).ravel()),
                torch.from_numpy(np.take_along_axis(weights, order, 1).ravel()),
                (height, self._stripes.shape[1]),
                check_invariants=False,
            )
        found = start.copy()
        for i, stripe in enumerate(self._stripes):
            columns = found[:, i * GRAM_COLUMNS : (i + 1) * GRAM_COLUMNS]
            columns -= (sparse @ torch.from_numpy(stripe)).numpy()[:, : columns.shape[1]]
        return found

    def between(self, chosen: Places, new: Places) -> NDArray[np.float64]:
        stripe, column = np.divmod(new, GRAM_COLUMNS)
        found: NDArray[np.float64] = self._stripes[stripe[:, None], chosen, column[:, None]].astype(np.float64)
        return found


def _pursue(targets: Floats, atoms: Floats, k: int, products: _Products) -> tuple[Places, Floats]:
    number = np.arange(len(targets))
    chosen = np.zeros((len(targets), k), np.int64)
    # inverse: L^-1 of the Gram matrix L L^T of the chosen atoms.  reduced: L^-1 A f.  x = L^-T L^-1 A f.
    inverse = np.zeros((len(targets), k, k), np.float64)
    reduced = np.zeros((len(targets), k), np.float64)
    weights = np.zeros((len(targets), 0), np.float64)
    start = targets @ atoms.T
    left = start
    for t in range(k):
        new = _greatest(left)
        chosen[:, t] = new
        with_others = products.between(chosen[:, : t + 1], new)
        before = inverse[:, :t, :t]
        shadow = np.matmul(before, with_others[:, :t, None])[..., 0]
        rest = with_others[:, t] - np.square(shadow).sum(1)
        usable = rest > DEPENDENT * with_others[:, t]
        scale = np.where(usable, 1 / np.sqrt(np.where(usable, rest, 1)), 0)
        inverse[:, t, :t] = -np.matmul(shadow[:, None], before)[:, 0] * scale[:, None]
        inverse[:, t, t] = scale
        reduced[:, t] = (start[number, new] - (shadow * reduced[:, :t]).sum(1)) * scale
        weights = np.matmul(reduced[:, None, : t + 1], inverse[:, : t + 1, : t + 1])[:, 0]
        if t + 1 < k:
            left = products.left(targets, start, chosen[:, : t + 1], weights.astype(np.float32))
            left[number[:, None], chosen[:, : t + 1]] = 0
    return chosen, weights.astype(np.float32)


def _greatest(values: Floats) -> Places:
    """Return where each row's greatest absolute value is, the first of equals."""
    most, least = values.argmax(1), values.argmin(1)
    rows = np.arange(len(values))
    above, below = values[rows, most], -values[rows, least]
    return np.where((above > below) | ((above == below) & (most < least)), most, least)
