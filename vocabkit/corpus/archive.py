"""Decompress gz, bz2, xz and zst as a stream; what comes before damage is used, and the damage reported."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import zstandard

from vocabkit.corpus.problems import Problems

SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")
# 4 KiB of a zip bomb become at most 128 MiB (zstd); damage costs at most this much good input before it.
PIECE_BYTES = 4096
LONGEST_MAGIC = 10


def decompress(chunks: Iterable[bytes], path: str, problems: Problems) -> Iterator[bytes]:
    """Yield the decompressed bytes of `chunks`, or `chunks` as they are when no known format begins there.

    The format is told by its first bytes, not by the name.  Concatenated members and frames are one text.
    """
    head, chunks = peek(chunks, LONGEST_MAGIC)
    archive = next((a for a in ARCHIVES if a.begins(head)), None)
    return iter(chunks) if archive is None else _decompress(archive, chunks, path, problems)


def peek(chunks: Iterable[bytes], size: int) -> tuple[bytes, Iterable[bytes]]:
    """Return the first `size` bytes (fewer at the end), and the same chunks again."""
    chunks = iter(chunks)
    head = b""
    while len(head) < size and (chunk := next(chunks, b"")):
        head += chunk
    return head[:size], chain([head], chunks)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class _Archive:
    name: str
    begins: Callable[[bytes], bool]
    start: Callable[[], _Decompressor]
    errors: type[Exception]


ARCHIVES = (
    _Archive("gzip", lambda head: head.startswith(b"\x1f\x8b\x08"), lambda: zlib.decompressobj(31), zlib.error),
    # A text may well begin with "BZh9": ask for the magic of the first block, or of the end, too.
    _Archive(
        "bzip2",
        lambda head: head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"),
        bz2.BZ2Decompressor,
        OSError,
    ),
    _Archive("xz", lambda head: head.startswith(b"\xfd7zXZ\0"), lzma.LZMADecompressor, lzma.LZMAError),
    _Archive(
        "zstd",
        # The second form is a skippable frame, with which pzstd begins.
        lambda head: head[:4] == b"\x28\xb5\x2f\xfd" or (b"P" <= head[:1] <= b"_" and head[1:4] == b"\x2a\x4d\x18"),
        # Published dumps use --long=31; the memory is only taken when the frame asks for it.
        lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(),
        zstandard.ZstdError,
    ),
)


def _decompress(archive: _Archive, chunks: Iterable[bytes], path: str, problems: Problems) -> Iterator[bytes]:
    stream = archive.start()
    num_bytes = 0
    for piece in _pieces(chunks):
        while piece:
            if stream.eof:
                # gzip and xz allow zeros between members.
                piece = piece.lstrip(b"\0")
                if not piece:
                    break
                stream = archive.start()
            try:
                text = stream.decompress(piece)
            except archive.errors:
                problems.damage(path, f"damaged {archive.name} data", num_bytes)
                return
            num_bytes += len(text)
            if text:
                yield text
            piece = stream.unused_data if stream.eof else b""
    if not stream.eof:
        problems.damage(path, f"truncated {archive.name} data", num_bytes)


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), PIECE_BYTES):
            yield chunk[start : start + PIECE_BYTES]
