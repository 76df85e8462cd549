"""What initialisers are asked for: the rows of a base's new tokens, described once for any number of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import CheckpointError
from vocabkit.rows.checkpoint import Checkpoint, RowTensor, open_checkpoint
from vocabkit.rows.initializers import without_mark
from vocabkit.rows.request import Donor, Initializer, OldRows, Pieces, RowRequest, Sources
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer, chunks
from vocabkit.tokenizer.start import start_id

LINES_AT_A_TIME = 4_096


@dataclass(frozen=True)
class RowOptions:
    """How new rows are made.

    initializer: the function; name: what it is called.  options: what it takes beside the request.
    lines: yields text that initialisers may read, about so many bytes of it, the same at every call.
    variants: text -> other spellings of it.
    model: loads the base, for initialisers that run it.
    """

    initializer: Initializer
    name: str
    seed: int = 0
    options: Mapping[str, str] | None = None
    lines: Callable[[int], Iterable[str]] | None = None
    variants: Callable[[str], Iterable[str]] | None = None
    model: Callable[[], Any] | None = None


def rows_by(how: RowOptions, request: RowRequest) -> NDArray[np.float32]:
    """Return the rows that the initialiser makes, [M, width].

    Raises CheckpointError when it gives something else: an initialiser may be anybody's.
    """
    made = how.initializer(request)
    expected = (len(request), request.old.shape[1])
    try:
        rows = np.asarray(made, np.float32)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"--init {how.name} made no rows ({error}); it must return {expected} numbers"
        ) from error
    if rows.shape != expected:
        raise CheckpointError(f"--init {how.name} made rows of shape {rows.shape}, not {expected}")
    return rows


class Requests:
    """The new tokens of `tokenizer`, and the matrices of `checkpoint` that get rows for them.

    added: the new tokens with the parts they were merged from.
    """

    def __init__(
        self, checkpoint: Checkpoint, base: Tokenizer, tokenizer: Tokenizer, added: Sequence[NewToken]
    ) -> None:
        self._checkpoint, self._base, self._tokenizer = checkpoint, base, tokenizer
        self._tokens = tuple(tokenizer.token_bytes(i) or b"" for i in range(base.size, tokenizer.size))
        self._parts = {token.token: token.parts for token in added}

    def of(
        self, how: RowOptions, progress: Callable[[str], None] | None = None
    ) -> Iterator[tuple[RowTensor, RowTensor | None, RowRequest]]:
        """Yield each matrix that gets rows of its own, its bias, and what an initialiser is asked for it."""
        sources = Sources(
            model=how.model,
            start=start_id(self._base),
            documents=_documents(how.lines, self._tokenizer) if how.lines else None,
            donor=lru_cache(1)(open_donor),
            variants=how.variants,
            progress=progress,
        )
        size = self._base.size
        for role, tensor, bias in _matrices(self._checkpoint):
            request = RowRequest(
                role,
                OldRows(tensor.values[:size], bias.values[:size] if bias else None),
                self._pieces,
                self._parents,
                self._tokens,
                self._old_ids,
                how.seed,
                how.options,
                sources,
                self._checkpoint.tied,
                lambda: self._bare,
            )
            yield tensor, bias, request

    @cached_property
    def _old_ids(self) -> dict[bytes, int]:
        return {token: i for i in range(self._base.size) if (token := self._base.token_bytes(i)) is not None}

    @cached_property
    def _pieces(self) -> Pieces:
        return pieces_of(self._base, self._tokens, self._parts)

    @cached_property
    def _bare(self) -> Pieces:
        pieces = self._pieces
        lists = [pieces.ids[pieces.starts[i] : pieces.starts[i + 1]].tolist() for i in range(len(self._tokens))]
        marked = [
            (i, text) for i, token in enumerate(self._tokens) if (text := without_mark(token)) not in (b"", token)
        ]
        for (i, _), ids in zip(marked, self._base.encode_bare([text for _, text in marked]), strict=True):
            lists[i] = ids
        return Pieces.of(lists)

    @cached_property
    def _parents(self) -> NDArray[np.int64]:
        base, parts = self._base, self._parts
        ids = {token: base.size + i for i, token in enumerate(self._tokens) if token}

        def find(token: bytes) -> int:
            old = base.find(token)
            return ids.get(token, -1) if old is None else old

        pairs = [parts.get(token, ()) for token in self._tokens]
        rows = [[find(pair[0]), find(pair[1])] if len(pair) == 2 else [-1, -1] for pair in pairs]
        return np.asarray(rows, np.int64).reshape(len(self._tokens), 2)


def open_donor(folder: Path) -> Donor:
    """Open a model to take rows from: its tokens by their bytes, and its matrices.

    Raises VocabkitError when there is no model in `folder`.
    """
    tokenizer, checkpoint = open_tokenizer(folder), open_checkpoint(folder)
    ids = {token: i for i in range(tokenizer.size) if (token := tokenizer.token_bytes(i)) is not None}
    rows = {"input": checkpoint.input, "head": checkpoint.head or checkpoint.input}
    return Donor(ids, {role: OldRows(tensor.values[: tokenizer.size]) for role, tensor in rows.items()})


def _documents(lines: Callable[[int], Iterable[str]], tokenizer: Tokenizer) -> Callable[[int], Iterator[list[int]]]:
    def documents(size: int) -> Iterator[list[int]]:
        for block in chunks(list(lines(size)), LINES_AT_A_TIME):
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
