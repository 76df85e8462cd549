"""Extend the weights of a model by the rows of its new tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocabkit.errors import CheckpointError
from vocabkit.rows.checkpoint import Checkpoint, RowTensor
from vocabkit.rows.distinct import made_distinct
from vocabkit.rows.dtypes import rounded
from vocabkit.rows.request import RowRequest
from vocabkit.rows.surgery import NewRows, extend_checkpoint
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.requests import Requests, RowOptions, rows_by

# Bytes that no UTF-8 text holds: their tokens were never produced in training, and were pushed down everywhere.
NEVER_IN_TEXT = (0xC0, 0xC1, *range(0xF5, 0x100))


@dataclass(frozen=True)
class Extension:
    """What was written: XXH3 checksums of the shards, and how many rows had to be told apart, by matrix."""

    checksums: dict[str, str]
    told_apart: dict[str, int]


def extend_weights(
    checkpoint: Checkpoint,
    base: Tokenizer,
    tokenizer: Tokenizer,
    added: Sequence[NewToken],
    folder: Path,
    *,
    rows: int,
    how: RowOptions,
    link: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Extension:
    """Write `checkpoint` with `rows` rows into `folder`: the base's, those of the new tokens, and padding.

    added: the new tokens of `tokenizer` with the parts they were merged from.
    link: hard-link shards that do not change.
    Raises CheckpointError when the base tokenizer has more tokens than the model has rows, or the disk is full.
    """
    if base.size > checkpoint.rows:
        raise CheckpointError(
            f"the tokenizer has {base.size:,} tokens and {checkpoint.input.name} {checkpoint.rows:,} rows; "
            f"resize the model to its tokenizer first, or use the tokenizer it was trained with"
        )
    told_apart: dict[str, int] = {}

    def make() -> dict[str, NewRows]:
        new: dict[str, NewRows] = {}
        never = [i for byte in NEVER_IN_TEXT if (i := base.find(bytes([byte]))) is not None]
        for tensor, bias, request in Requests(checkpoint, base, tokenizer, added).of(how, progress):
            if progress:
                progress(f"Making {request.role} rows by {how.name}")
            made, told_apart[request.role] = _made(tensor, bias, request, never, how)
            new |= made
        if checkpoint.tied and checkpoint.head is not None:
            new[checkpoint.head.name] = new[checkpoint.input.name]
        return new

    checksums = extend_checkpoint(checkpoint, folder, make, first=base.size, rows=rows, link=link, progress=progress)
    return Extension(checksums, told_apart)


def _made(
    tensor: RowTensor, bias: RowTensor | None, request: RowRequest, never: Sequence[int], how: RowOptions
) -> tuple[dict[str, NewRows], int]:
    """Make one matrix's rows, in a function of its own so that what they were made of is gone before the next."""
    old, made = request.old, rows_by(how, request)
    padding = old[np.asarray(never)].mean(0) if never else old.mean
    width = tensor.tensor.shape[1]
    cast, told_apart = made_distinct(made[:, :width], tensor.dtype, old.rms, how.seed, tensor.name)
    new = {tensor.name: NewRows(cast, rounded(padding[:width], tensor.dtype, tensor.name))}
    if bias:
        new[bias.name] = NewRows(
            rounded(made[:, width], bias.dtype, bias.name), rounded(padding[width:], bias.dtype, bias.name)
        )
    return new, told_apart
