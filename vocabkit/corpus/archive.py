"""Decompress gz, bz2, xz and zst as a stream; what comes before damage is used, and the damage reported."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import zstandard

from vocabkit.corpus.problems import Problems

SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")
# What is handed to a decompressor at once; damage costs at most this much good input before it.
PIECE_BYTES = 4096
# A zstd block of 4 bytes becomes 128 KiB and there is no limit to ask for, so 512 bytes become at most 16 MiB.
ZSTD_PIECE_BYTES = 512
# 45 bytes of bzip2 become 46 MB; like xz, it can be asked for less.
MAX_PART_BYTES = 1 << 20
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


def _at_once(stream: _Decompressor, piece: bytes) -> Iterator[bytes]:
    yield stream.decompress(piece)


def _in_parts(stream: Any, piece: bytes) -> Iterator[bytes]:
    """Yield what `piece` becomes in parts of at most MAX_PART_BYTES, for decompressors that can stop."""
    part = stream.decompress(piece, MAX_PART_BYTES)
    yield part
    # Until nothing comes: BZ2Decompressor may say that it needs input while most of a block is still inside.
    while not stream.eof and (part or not stream.needs_input):
        part = stream.decompress(b"", MAX_PART_BYTES)
        yield part


@dataclass(frozen=True)
class _Archive:
    name: str
    begins: Callable[[bytes], bool]
    start: Callable[[], _Decompressor]
    errors: type[Exception]
    feed: Callable[[_Decompressor, bytes], Iterator[bytes]] = _at_once
    piece_bytes: int = PIECE_BYTES


ARCHIVES = (
    _Archive("gzip", lambda head: head.startswith(b"\x1f\x8b\x08"), lambda: zlib.decompressobj(31), zlib.error),
    # A text may well begin with "BZh9": ask for the magic of the first block, or of the end, too.
    _Archive(
        "bzip2",
        lambda head: head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"),
        bz2.BZ2Decompressor,
        OSError,
        _in_parts,
    ),
    _Archive("xz", lambda head: head.startswith(b"\xfd7zXZ\0"), lzma.LZMADecompressor, lzma.LZMAError, _in_parts),
    _Archive(
        "zstd",
        # The second form is a skippable frame, with which pzstd begins.
        lambda head: head[:4] == b"\x28\xb5\x2f\xfd" or (b"P" <= head[:1] <= b"_" and head[1:4] == b"\x2a\x4d\x18"),
        # Published dumps use --long=31; the memory is only taken when the frame asks for it.
        lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(),
        zstandard.ZstdError,
        piece_bytes=ZSTD_PIECE_BYTES,
    ),
)


def _decompress(archive: _Archive, chunks: Iterable[bytes], path: str, problems: Problems) -> Iterator[bytes]:
    stream = archive.start()
    num_bytes = 0
    for piece in _pieces(chunks, archive.piece_bytes):
        while piece:
            if stream.eof:
                # gzip and xz allow zeros between members.
                piece = piece.lstrip(b"\0")
                if not piece:
                    break
                stream = archive.start()
            try:
                for text in archive.feed(stream, piece):
                    num_bytes += len(text)
                    if text:
                        yield text
            except archive.errors:
                problems.damage(path, f"damaged {archive.name} data", num_bytes)
                return
            piece = stream.unused_data if stream.eof else b""
    if not stream.eof:
        problems.damage(path, f"truncated {archive.name} data", num_bytes)


def _pieces(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]
