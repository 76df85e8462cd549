"""Sequences of ids as arrays: documents packed into blocks of one size, and examples that stand alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sequences:
    """Sequences one after another.

    ids: [n] int32.  learned: [n] bool, which of them are to be predicted.  starts: [count + 1] int64, where each
    sequence begins, and the end.  bytes: [count] int64, UTF-8 bytes of the text that its learned ids stand for.
    """

    ids: NDArray[np.int32]
    learned: NDArray[np.bool_]
    starts: NDArray[np.int64]
    bytes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bytes)

    def get(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the ids of one sequence, and which of them are learned."""
        begin, end = int(self.starts[index]), int(self.starts[index + 1])
        return self.ids[begin:end], self.learned[begin:end]

    def save(self, path: Path) -> None:
        """Write them to a safetensors file."""
        from safetensors.numpy import save_file

        save_file({"ids": self.ids, "learned": self.learned, "starts": self.starts, "bytes": self.bytes}, path)

    @classmethod
    def load(cls, path: Path) -> Sequences:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        return cls(**load_file(path))


def packed(
    documents: Iterable[Sequence[int]], lengths: NDArray[np.int64], block_size: int, bos: int | None, eos: int | None
) -> Sequences:
    """Return documents cut into blocks of `block_size` ids, each after `bos` and before `eos`; nothing is dropped.

    lengths: [V] UTF-8 bytes of every id, 0 for special ones.  The last block may be shorter.  Where `bos` and `eos`
    are one id, it stands between documents once.  The first id of a block has nothing before it in the block, so it
    is repeated at the end of the block before: every id is learned once.
    """
    # One id that both ends and begins: only before each document, and after the last.
    twice = bos is not None and bos == eos
    stream: list[NDArray[np.int64]] = []
    for ids in documents:
        if bos is not None:
            stream.append(np.array([bos], np.int64))
        stream.append(np.asarray(ids, np.int64))
        if eos is not None and not twice:
            stream.append(np.array([eos], np.int64))
    if twice and stream:
        stream.append(np.array([eos], np.int64))
    everything = np.concatenate(stream) if stream else np.empty(0, np.int64)
    # Blocks overlap by one id, which is learned in the first and read in the second.
    step = block_size - 1
    count = max(0, -(-(len(everything) - 1) // step))
    pieces = [everything[i * step : i * step + block_size] for i in range(count)]
    flat = np.concatenate(pieces) if pieces else everything[:0]
    starts = np.zeros(count + 1, np.int64)
    starts[1:] = np.cumsum([len(piece) for piece in pieces])
    learned = np.ones(len(flat), np.bool_)
    learned[starts[:-1]] = False
    sizes = np.array([int(lengths[piece[1:]].sum()) for piece in pieces], np.int64)
    return Sequences(flat.astype(np.int32), learned, starts, sizes)


def joined(
    examples: Iterable[tuple[Sequence[int], Sequence[bool]]], lengths: NDArray[np.int64], block_size: int
) -> Sequences:
    """Return examples one after another, each cut at `block_size`."""
    ids: list[NDArray[np.int32]] = []
    learned: list[NDArray[np.bool_]] = []
    sizes = []
    for tokens, marks in examples:
        one, two = np.asarray(tokens[:block_size], np.int32), np.asarray(marks[:block_size], np.bool_)
        ids.append(one)
        learned.append(two)
        sizes.append(int(lengths[one[two]].sum()))
    starts = np.zeros(len(ids) + 1, np.int64)
    starts[1:] = np.cumsum([len(part) for part in ids])
    flat = np.concatenate(ids) if ids else np.empty(0, np.int32)
    marks_flat = np.concatenate(learned) if learned else np.empty(0, np.bool_)
    return Sequences(flat, marks_flat, starts, np.array(sizes, np.int64))
