"""New rows moved as one, so that what reads them is told apart from the rest of the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import VocabkitError
from vocabkit.fit.states import head_moment
from vocabkit.fit.windows import Batch, batches, choose_windows
from vocabkit.rows.initializers import copied_from, copy, twins
from vocabkit.rows.request import RowRequest
from vocabkit.tokenizer.byte_alphabet import is_text

Rows = NDArray[np.float32]

BATCH_TOKENS = 512
# Text is read for every token that is wanted: so much that rare tokens can be chosen from it.
BYTES_A_TOKEN = 256
# Batches whose head inputs say which changes of a row change its logits.
HEAD_BATCHES = 4


def shift(request: RowRequest) -> Rows:
    """E_t = C_t + x: `copy`'s rows C, those that are not copies moved by one and the same x.

    x is v = mean(C) - mean(E) as far as the head does not notice: it minimises |x - v|^2 / |v|^2 + x^T H x, H the
    second moment of what the head reads, so that the second part is the mean square of what the logits change by.
    That new rows are read better when what they share is stronger was found by measuring (docs/decisions.md).
    An input matrix of its own is moved by v, and needs no text and no model; a head of its own keeps C.
    No gradients: H comes from one pass of the frozen base over about 2,000 tokens of text.
    Raises VocabkitError for a tied model without text, or without torch.
    """
    if request.role != "input":
        return copy(request)
    if not request.tied:
        return shifted(request, None)
    cut = windows_of(request, HEAD_BATCHES * BATCH_TOKENS, "shift")
    return shifted(request, head_moment(model_of(request, "shift"), cut))


def shifted(request: RowRequest, moment: Any) -> Rows:
    """Return the rows of `shift`; moment [width, width]: the second moment of what a tied head reads, else None."""
    old = twins(request)
    rows, moved = copied_from(request, old), _moved(request, old)
    if moved.any():
        offset = rows[moved].mean(0) - request.old.mean
        rows[moved] += offset if moment is None else unnoticed(offset, moment)
    return rows


def unnoticed(offset: Rows, moment: Any) -> Rows:
    """Return argmin_x |x - v|^2 / |v|^2 + x^T H x = (I + |v|^2 H)^-1 v for v = `offset`."""
    wide = np.eye(len(offset)) + float(offset @ offset) * moment.double().cpu().numpy()
    found: Rows = np.linalg.solve(wide, offset.astype(np.float64)).astype(np.float32)
    return found


def windows_of(request: RowRequest, tokens: int, name: str) -> Sequence[Batch]:
    """Return batches of text with new tokens, about `tokens` ids of it; raises VocabkitError when there are none."""
    documents = request.sources.documents
    if documents is None:
        raise VocabkitError(f"--init {name} reads text; name it with --init-corpus")
    first = request.old.shape[0]
    windows = choose_windows(documents(tokens * BYTES_A_TOKEN), first, tokens, request.seed)
    if not windows:
        raise VocabkitError("the text of --init-corpus holds none of the new tokens; name text of the language")
    start = request.sources.start
    return list(batches(windows, request.pieces, first, start, tokens=BATCH_TOKENS, seed=request.seed))


def model_of(request: RowRequest, name: str) -> Any:
    """Return the base, loaded; raises VocabkitError when there is none, or torch is missing."""
    if request.sources.model is None:
        raise VocabkitError(f"--init {name} runs the base; name a model folder with --base")
    return request.sources.model()


def _moved(request: RowRequest, old: Sequence[int | None]) -> NDArray[np.bool_]:
    """Return which tokens are whole text and no copies of an old one, [M]."""
    pairs = zip(request.tokens, old, strict=True)
    return np.asarray([bool(token) and is_text(token) and twin is None for token, twin in pairs], bool)
