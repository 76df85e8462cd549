"""Matching pursuit against a least-squares oracle that forms every residual in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vocabkit.rows.pursuit import matching_pursuit

GENERATOR = np.random.default_rng(3)


def oracle(target: NDArray[np.float32], atoms: NDArray[np.float32], k: int) -> tuple[list[int], NDArray[np.float64]]:
    """Choose one atom at a time and solve the whole least squares problem anew."""
    wide, chosen = atoms.astype(np.float64), list[int]()
    weights = np.zeros(0)
    residual = target.astype(np.float64)
    for _ in range(k):
        correlation = np.abs(wide @ residual)
        correlation[chosen] = -1
        chosen.append(int(correlation.argmax()))
        weights = np.linalg.lstsq(wide[chosen].T, target.astype(np.float64), rcond=None)[0]
        residual = target - wide[chosen].T @ weights
    return chosen, weights


@pytest.mark.parametrize("gram", [False, True])
@pytest.mark.parametrize("number", [50, 209])
def test_atoms_and_weights_are_the_oracle_s(gram: bool, number: int) -> None:
    atoms = GENERATOR.standard_normal((number, 48)).astype(np.float32) * GENERATOR.uniform(0.5, 2, (number, 1))
    atoms = atoms.astype(np.float32)
    targets = GENERATOR.standard_normal((20, 48)).astype(np.float32)
    chosen, weights = matching_pursuit(targets, atoms, 16, gram=gram)
    for target, ids, row in zip(targets, chosen, weights, strict=True):
        expected, solution = oracle(target, atoms, 16)
        assert ids.tolist() == expected
        assert np.allclose(row, solution, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("gram", [False, True])
def test_a_target_among_the_atoms_is_itself(gram: bool) -> None:
    atoms = GENERATOR.standard_normal((30, 12)).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    chosen, weights = matching_pursuit(atoms[[7]], atoms, 4, gram=gram)
    assert chosen[0, 0] == 7
    assert np.allclose(weights[0], [1, 0, 0, 0], atol=1e-5)


@pytest.mark.parametrize("gram", [False, True])
def test_repeated_atoms_do_no_harm(gram: bool) -> None:
    atoms = np.repeat(GENERATOR.standard_normal((4, 12)).astype(np.float32), 3, axis=0)
    target = GENERATOR.standard_normal((1, 12)).astype(np.float32)
    chosen, weights = matching_pursuit(target, atoms, 12, gram=gram)
    best = np.linalg.lstsq(atoms.T, target[0], rcond=None)[0]
    assert np.isfinite(weights).all()
    assert np.allclose(weights[0] @ atoms[chosen[0]], atoms.T @ best, atol=1e-3)
