"""Read any file as blocks of UTF-8 bytes, and blocks as lines, in memory that does not depend on the file."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from vocabkit.corpus.archive import decompress, peek
from vocabkit.corpus.problems import Problems

BLOCK_BYTES = 1 << 20
# Longest first: UTF-32's little-endian mark begins with UTF-16's.
ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def read_blocks(file: BinaryIO, path: str, problems: Problems, advance: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the text of `file`, decompressed and as UTF-8, in blocks of exactly BLOCK_BYTES but for the last.

    So blocks depend on the text alone, not on how it was compressed or on how fast a pipe delivers it.
    advance: called with the number of bytes read from `file`.
    """
    chunks = decompress(_raw(file, advance), path, problems)
    waiting = bytearray()
    for chunk in _as_utf8(chunks, path, problems):
        if not waiting and len(chunk) == BLOCK_BYTES:
            yield chunk
            continue
        waiting += chunk
        while len(waiting) >= BLOCK_BYTES:
            yield bytes(waiting[:BLOCK_BYTES])
            del waiting[:BLOCK_BYTES]
    if waiting:
        yield bytes(waiting)


def read_lines(blocks: Iterable[bytes], max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield the byte offset and the bytes of every line that is not empty, without its line break.

    A line longer than `max_bytes` comes as None, and is never held whole.
    """
    parts: list[bytes] = []
    start = end = num_held = 0
    for block in blocks:
        for number, part in enumerate(block.split(b"\n")):
            if number:
                yield from _line(start, parts, num_held, max_bytes)
                end += 1
                parts, start, num_held = [], end, 0
            end += len(part)
            num_held += len(part)
            if num_held > max_bytes:
                parts = []
            elif part:
                parts.append(part)
    yield from _line(start, parts, num_held, max_bytes)


def _line(start: int, parts: list[bytes], num_bytes: int, max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    if num_bytes > max_bytes:
        yield start, None
        return
    line = b"".join(parts).removesuffix(b"\r")
    if line:
        yield start, line


def _raw(file: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
    while chunk := file.read(BLOCK_BYTES):
        advance(len(chunk))
        yield chunk


def _as_utf8(chunks: Iterable[bytes], path: str, problems: Problems) -> Iterator[bytes]:
    """Yield `chunks` in UTF-8, without a byte order mark; one of UTF-16 or UTF-32 tells the encoding."""
    head, chunks = peek(chunks, 4)
    if head.startswith(codecs.BOM_UTF8):
        problems.note(path, "UTF-8 byte order mark removed")
        chunks = iter(chunks)
        # Empty lines are skipped in every format, and later offsets stay those of the file.
        yield b"\n\n\n" + next(chunks)[3:]
    encoding = next((name for mark, name in ENCODINGS if head.startswith(mark)), None)
    if encoding is None:
        yield from chunks
        return
    problems.note(path, f"read as {encoding}, as its byte order mark says")
    decoder = codecs.getincrementaldecoder(encoding)(errors=_KEEP_INVALID)
    for chunk in chunks:
        yield decoder.decode(chunk).encode(errors=_KEEP_INVALID)
    yield decoder.decode(b"", final=True).encode(errors=_KEEP_INVALID)


def _keep_invalid(error: UnicodeError) -> tuple[str | bytes, int]:
    """Turn what is invalid in one encoding into a byte that is invalid in UTF-8, so that one policy sees it."""
    if isinstance(error, UnicodeDecodeError):
        return "\udfff", error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff" * (error.end - error.start), error.end
    raise error


_KEEP_INVALID = "vocabkit-keep-invalid"
codecs.register_error(_KEEP_INVALID, _keep_invalid)
