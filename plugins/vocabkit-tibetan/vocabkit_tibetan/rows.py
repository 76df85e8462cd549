"""Make rows by syllables: a token's row is the mean of its syllables', in which the tsheg is nearly silent."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from vocabkit.rows.initializers import combined
from vocabkit.rows.request import RowRequest

# Tsheg, shad and their relatives, U+0F0B to U+0F14, in UTF-8.
MARK = b"\xe0\xbc[\x8b-\x94]"
SYLLABLE = re.compile(b"(?:(?!" + MARK + b").)*(?:" + MARK + b")*", re.DOTALL)
# What a byte of a mark counts beside one of a letter: it ends most syllables, and tells none from another.
QUIET = 1 / 4


def syllable_rows(request: RowRequest) -> NDArray[np.float32]:
    """Return [M, width]: E_t = sum_i w_i E_{t_i}, where w_i is piece i's share of the bytes of its syllables.

    Every syllable weighs the same, whatever its length; bytes of marks count a quarter.
    """
    spelled = {token_id: token for token, token_id in request.old_ids.items()}
    weights = np.ones(len(request.pieces.ids))
    for i, token in enumerate(request.tokens):
        first, last = request.pieces.starts[i], request.pieces.starts[i + 1]
        lengths = [len(spelled.get(piece, b"")) for piece in request.pieces.ids[first:last].tolist()]
        # Pieces that do not spell the token weigh the same.
        if all(lengths) and sum(lengths) == len(token) > 0:
            starts = np.cumsum([0, *lengths[:-1]])
            weights[first:last] = np.add.reduceat(byte_weights(token), starts)
    return combined(request, weights)


def byte_weights(token: bytes) -> NDArray[np.float64]:
    """Return what each byte of a token weighs; those of a syllable add up to 1."""
    weights = np.ones(len(token))
    for mark in re.finditer(MARK, token):
        weights[mark.start() : mark.end()] = QUIET
    for syllable in SYLLABLE.finditer(token):
        if syllable.group():
            weights[syllable.start() : syllable.end()] /= weights[syllable.start() : syllable.end()].sum()
    return weights
