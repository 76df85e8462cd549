"""Extend the weights of a model by the rows of its new tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import CheckpointError
from vocabkit.rows.checkpoint import Checkpoint, RowTensor, open_checkpoint
from vocabkit.rows.distinct import made_distinct
from vocabkit.rows.dtypes import rounded
from vocabkit.rows.initializers import without_mark
from vocabkit.rows.request import Donor, Initializer, OldRows, Pieces, RowRequest, Sources
from vocabkit.rows.surgery import NewRows, extend_checkpoint
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer, chunks
from vocabkit.tokenizer.start import start_id

LINES_AT_A_TIME = 4_096
# Bytes that no UTF-8 text holds: their tokens were never produced in training, and were pushed down everywhere.
NEVER_IN_TEXT = (0xC0, 0xC1, *range(0xF5, 0x100))


@dataclass(frozen=True)
class RowOptions:
    """How new rows are made and written.

    initializer: the function; name: what it is called.  options: what it takes beside the request.
    lines: yields the text that initialisers may read, the same at every call.
    variants: text -> other spellings of it.
    link: hard-link shards that do not change.
    """

    initializer: Initializer
    name: str
    seed: int = 0
    options: Mapping[str, str] | None = None
    lines: Callable[[], Iterable[str]] | None = None
    variants: Callable[[str], Iterable[str]] | None = None
    link: bool = False


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
    progress: Callable[[str], None] | None = None,
) -> Extension:
    """Write `checkpoint` with `rows` rows into `folder`: the base's, those of the new tokens, and padding.

    added: the new tokens of `tokenizer` with the parts they were merged from.
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
        for tensor, bias, request in row_requests(checkpoint, base, tokenizer, added, how, progress):
            if progress:
                progress(f"Making {request.role} rows by {how.name}")
            made, told_apart[request.role] = _made(tensor, bias, request, never, how)
            new |= made
        if checkpoint.tied and checkpoint.head is not None:
            new[checkpoint.head.name] = new[checkpoint.input.name]
        return new

    checksums = extend_checkpoint(
        checkpoint, folder, make, first=base.size, rows=rows, link=how.link, progress=progress
    )
    return Extension(checksums, told_apart)


def _made(
    tensor: RowTensor, bias: RowTensor | None, request: RowRequest, never: Sequence[int], how: RowOptions
) -> tuple[dict[str, NewRows], int]:
    """Make one matrix's rows, in a function of its own so that what they were made of is gone before the next."""
    old, expected = request.old, (len(request), request.old.shape[1])
    made = np.asarray(how.initializer(request), np.float32)
    if made.shape != expected:
        raise CheckpointError(f"--init {how.name} made rows of shape {made.shape}, not {expected}")
    padding = old[np.asarray(never)].mean(0) if never else old.mean
    width = tensor.tensor.shape[1]
    cast, told_apart = made_distinct(made[:, :width], tensor.dtype, old.rms, how.seed, tensor.name)
    new = {tensor.name: NewRows(cast, rounded(padding[:width], tensor.dtype, tensor.name))}
    if bias:
        new[bias.name] = NewRows(
            rounded(made[:, width], bias.dtype, bias.name), rounded(padding[width:], bias.dtype, bias.name)
        )
    return new, told_apart


def row_requests(
    checkpoint: Checkpoint,
    base: Tokenizer,
    tokenizer: Tokenizer,
    added: Sequence[NewToken],
    how: RowOptions,
    progress: Callable[[str], None] | None = None,
) -> Iterator[tuple[RowTensor, RowTensor | None, RowRequest]]:
    """Yield each matrix that gets rows of its own, its bias, and what an initialiser is asked for it."""
    tokens = tuple(tokenizer.token_bytes(i) or b"" for i in range(base.size, tokenizer.size))
    parts = {token.token: token.parts for token in added}
    pieces = pieces_of(base, tokens, parts)
    bare = _bare_pieces(base, tokens, pieces)
    parents = _parents(base, tokens, parts)
    old_ids = {token: i for i in range(base.size) if (token := base.token_bytes(i)) is not None}
    sources = Sources(
        model=checkpoint.folder,
        start=start_id(base),
        documents=_documents(how.lines, tokenizer) if how.lines else None,
        donor=lru_cache(1)(open_donor),
        variants=how.variants,
        progress=progress,
    )
    for role, tensor, bias in _matrices(checkpoint):
        old = OldRows(tensor.values[: base.size], bias.values[: base.size] if bias else None)
        yield (
            tensor,
            bias,
            RowRequest(
                role, old, pieces, parents, tokens, old_ids, how.seed, how.options, sources, checkpoint.tied, bare
            ),
        )


def open_donor(folder: Path) -> Donor:
    """Open a model to take rows from: its tokens by their bytes, and its matrices.

    Raises VocabkitError when there is no model in `folder`.
    """
    tokenizer, checkpoint = open_tokenizer(folder), open_checkpoint(folder)
    ids = {token: i for i in range(tokenizer.size) if (token := tokenizer.token_bytes(i)) is not None}
    rows = {"input": checkpoint.input, "head": checkpoint.head or checkpoint.input}
    return Donor(ids, {role: OldRows(tensor.values[: tokenizer.size]) for role, tensor in rows.items()})


def _documents(lines: Callable[[], Iterable[str]], tokenizer: Tokenizer) -> Callable[[], Iterator[list[int]]]:
    def documents() -> Iterator[list[int]]:
        for block in chunks(list(lines()), LINES_AT_A_TIME):
            yield from tokenizer.encode(block)

    return documents


def pieces_of(base: Tokenizer, tokens: Sequence[bytes], parts: Mapping[bytes, tuple[bytes, ...]]) -> Pieces:
    """Return how `base` writes every token: down the merges where they are known, else by encoding its text."""
    known: dict[bytes, list[int]] = {}
    loose = [token for token in tokens if token and not parts.get(token)]
    known.update(zip(loose, base.encode_bare(loose), strict=True))

    def pieces(token: bytes) -> list[int]:
        if token not in known:
            found = base.find(token)
            known[token] = [found] if found is not None else [i for part in parts[token] for i in pieces(part)]
        return known[token]

    return Pieces.of([pieces(token) if token else [] for token in tokens])


def _bare_pieces(base: Tokenizer, tokens: Sequence[bytes], pieces: Pieces) -> Pieces:
    lists = [pieces.ids[pieces.starts[i] : pieces.starts[i + 1]].tolist() for i in range(len(tokens))]
    marked = [(i, text) for i, token in enumerate(tokens) if (text := without_mark(token)) and text != token]
    for (i, _), ids in zip(marked, base.encode_bare([text for _, text in marked]), strict=True):
        lists[i] = ids
    return Pieces.of(lists)


def _parents(base: Tokenizer, tokens: Sequence[bytes], parts: Mapping[bytes, tuple[bytes, ...]]) -> NDArray[np.int64]:
    ids = {token: base.size + i for i, token in enumerate(tokens) if token}

    def find(token: bytes) -> int:
        old = base.find(token)
        return ids.get(token, -1) if old is None else old

    pairs = [parts.get(token, ()) for token in tokens]
    rows = [[find(left_right[0]), find(left_right[1])] if len(left_right) == 2 else [-1, -1] for left_right in pairs]
    return np.asarray(rows, np.int64).reshape(len(tokens), 2)


def _matrices(checkpoint: Checkpoint) -> list[tuple[str, RowTensor, RowTensor | None]]:
    """Return what is made on its own: the input matrix, and the head with its bias unless it is the same."""
    matrices: list[tuple[str, RowTensor, RowTensor | None]] = [("input", checkpoint.input, None)]
    if checkpoint.head is not None and not checkpoint.tied:
        matrices.append(("head", checkpoint.head, checkpoint.bias))
    elif checkpoint.bias is not None:
        raise CheckpointError(
            f"{checkpoint.folder}: a tied head with a bias ({checkpoint.bias.name}) is not supported"
        )
    return matrices
