"""Read the bytes of a file, compressed or not, in blocks; a damaged archive gives its good beginning."""

from __future__ import annotations

import bz2
import codecs
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import zstandard

from vocabkit.corpus.problems import Problems

BLOCK_BYTES = 1 << 20
# A few thousand bytes at a time: what a hostile archive makes of them still fits in memory.
COMPRESSED_BYTES = 4096
MAGIC: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lzma.LZMADecompressor),
    (b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
)
BOMS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


def read_blocks(file: IO[bytes], path: str, problems: Problems, advance: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the decompressed UTF-8 bytes of `file` in blocks of about a mebibyte, without a byte order mark.

    advance: told how many bytes of the file itself were read.
    """
    blocks = _marked(_decompressed(file, path, problems, advance), path, problems)
    collected: list[bytes] = []
    size = 0
    for block in blocks:
        collected.append(block)
        size += len(block)
        if size >= BLOCK_BYTES:
            yield b"".join(collected)
            collected, size = [], 0
    if collected:
        yield b"".join(collected)


def _decompressed(file: IO[bytes], path: str, problems: Problems, advance: Callable[[int], None]) -> Iterator[bytes]:
    head = file.read(COMPRESSED_BYTES)
    make = next((make for magic, make in MAGIC if head.startswith(magic)), None)
    if make is None:
        while head:
            advance(len(head))
            yield head
            head = file.read(BLOCK_BYTES)
        return
    stream: Any = make()
    offset = 0
    data = head
    while data:
        advance(len(data))
        try:
            while data:
                if stream.eof:
                    stream = make()
                out = stream.decompress(data)
                offset += len(out)
                yield out
                data = stream.unused_data if stream.eof else b""
                if data.strip(b"\0") == b"":
                    data = b""  # some writers pad an archive with zeros
        except (zlib.error, OSError, lzma.LZMAError, zstandard.ZstdError, EOFError):
            problems.add(path, "damaged archive", offset, "read up to there")
            return
        data = file.read(COMPRESSED_BYTES)
    if not stream.eof:
        problems.add(path, "truncated archive", offset, "read up to there")


def _marked(blocks: Iterator[bytes], path: str, problems: Problems) -> Iterator[bytes]:
    """Remove a byte order mark, and turn UTF-16 and UTF-32 into UTF-8."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= 4:
            break
    encoding = next((name for mark, name in BOMS if head.startswith(mark)), None)
    if encoding:
        problems.note(path, encoding.upper(), 0, "read as UTF-8")
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        yield decoder.decode(head).encode("utf-8")
        for block in blocks:
            yield decoder.decode(block).encode("utf-8")
        yield decoder.decode(b"", final=True).encode("utf-8")
        return
    if head.startswith(codecs.BOM_UTF8):
        problems.note(path, "byte order mark", 0, "removed")
        head = head.removeprefix(codecs.BOM_UTF8)
    yield head
    yield from blocks
