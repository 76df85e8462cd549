"""What an initialiser is given: the old rows, and how each new token was written before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Old rows are turned into float32 this many values at a time: 16 MB.
BLOCK_VALUES = 1 << 22

Initializer = Callable[["RowRequest"], NDArray[np.float32]]


class OldRows:
    """The base's rows of one matrix, in float32 as they are asked for; a head's bias is its last column."""

    def __init__(self, values: NDArray[Any], bias: NDArray[Any] | None = None) -> None:
        self._values = values
        self._bias = bias

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, width)."""
        return len(self._values), self._values.shape[1] + (self._bias is not None)

    def __getitem__(self, ids: Any) -> NDArray[np.float32]:
        values = np.asarray(self._values[ids]).astype(np.float32)
        if self._bias is None:
            return values
        return np.concatenate([values, np.asarray(self._bias[ids]).astype(np.float32)[..., None]], axis=-1)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield all rows, in order, in blocks of about BLOCK_VALUES values."""
        step = max(1, BLOCK_VALUES // self.shape[1])
        for start in range(0, self.shape[0], step):
            yield self[start : start + step]

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """[width], the mean of all rows."""
        total = np.zeros(self.shape[1], np.float64)
        for block in self.blocks():
            total += block.sum(0, dtype=np.float64)
        return (total / self.shape[0]).astype(np.float32)

    @cached_property
    def rms(self) -> float:
        """The root mean square of all values."""
        total = sum(float(np.vdot(block, block)) for block in self.blocks())
        return float(np.sqrt(total / (self.shape[0] * self.shape[1])))


@dataclass(frozen=True)
class Pieces:
    """The base's ids of every new token, one list after the other.

    ids: [sum of lengths] int64.  starts: [M + 1] int64; token i has `ids[starts[i] : starts[i + 1]]`, which is
    empty for a token that is not made of old ones (a new special token).
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, lists: list[list[int]]) -> Pieces:
        """Return the pieces that `lists` name."""
        starts = np.concatenate([[0], np.cumsum([len(ids) for ids in lists], dtype=np.int64)])
        return cls(np.fromiter((i for ids in lists for i in ids), np.int64, int(starts[-1])), starts)

    def of_tokens(self, tokens: Sequence[int] | NDArray[np.int64]) -> Pieces:
        """Return the pieces of some tokens alone."""
        return Pieces.of([self.ids[self.starts[i] : self.starts[i + 1]].tolist() for i in tokens])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[M], the number of pieces of each token."""
        return np.diff(self.starts)

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """[sum of lengths], the token that each piece belongs to."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def position(self) -> NDArray[np.int64]:
        """[sum of lengths], the place of each piece in its token, from 0 on."""
        return np.arange(len(self.ids)) - np.repeat(self.starts[:-1], self.lengths)


@dataclass(frozen=True)
class Donor:
    """Another model whose vocabulary holds some of the new tokens.

    ids: its tokens, bytes -> id.  rows: role ("input", "head") -> its rows; a tied model has them twice.
    """

    ids: Mapping[bytes, int]
    rows: Mapping[str, OldRows]


@dataclass(frozen=True)
class Sources:
    """What an initialiser may read beyond the old rows; None where there is none.

    model: loads the base; the same object at every call.
    start: the old id that a document begins after.
    documents: yields about so many bytes of the corpus, a list of ids for every line, in the extended numbering; the
        same at every call, and drawn from the whole of it.
    donor: opens the model in a folder.
    variants: text -> other spellings of it in the language (simplified, traditional).
    progress: is told what is being done.
    """

    model: Callable[[], Any] | None = None
    start: int = 0
    documents: Callable[[int], Iterator[list[int]]] | None = None
    donor: Callable[[Path], Donor] | None = None
    variants: Callable[[str], Iterable[str]] | None = None
    progress: Callable[[str], None] | None = None


@dataclass(frozen=True)
class RowRequest:
    """What is asked of an initialiser: one row for every new token, for one matrix.

    role: "input" or "head"; a tied matrix is asked for once, as "input".  tied: whether it is.
    old: the base's rows, [V, width].
    pieces: the base's segmentation of every new token.
    bare: returns the same without the word-boundary mark that a token begins with; `pieces` where it has none.
    parents: [M, 2] ids of the two tokens that each was merged from, in the extended numbering (V + i is new
        token i), -1 where it is not a merge.
    tokens: [M] the new tokens' bytes; b"" for a new special token.
    old_ids: the base's tokens, bytes -> id.
    seed: of whatever is drawn at random.
    options: what the user passed with --init-option NAME=VALUE.
    sources: what else may be read.
    """

    role: str
    old: OldRows
    pieces: Pieces
    parents: NDArray[np.int64]
    tokens: tuple[bytes, ...]
    old_ids: Mapping[bytes, int]
    seed: int = 0
    options: Mapping[str, str] | None = None
    sources: Sources = Sources()
    tied: bool = False
    bare: Callable[[], Pieces] | None = None

    def __len__(self) -> int:
        return len(self.tokens)
