"""Copy bytes between files in blocks, with a checksum of what went by."""

from __future__ import annotations

import os
import sys
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import xxhash

from vocabkit.errors import VocabkitError

BLOCK_BYTES = 1 << 23
# Linux: share the blocks of a file, on btrfs, XFS and others.  From linux/fs.h.
FICLONE = 0x40049409


class ChecksumWriter:
    """Writes to a file and keeps the XXH3 checksum of everything written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.checksum = xxhash.xxh3_128()
        self._block = memoryview(bytearray(BLOCK_BYTES))

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        self.checksum.update(data)
        self.file.write(data)

    def copy(self, source: FileIO, start: int, length: int) -> None:
        """Append `length` bytes of `source` from `start` on."""
        source.seek(start)
        while length:
            read = source.readinto(self._block[: min(length, BLOCK_BYTES)])
            if not read:
                raise VocabkitError(
                    f"{source.name} became shorter while it was read; run again when nothing writes it"
                )
            self.write(self._block[:read])
            length -= read


def copy_file(source: Path, target: Path, *, link: bool = False) -> str:
    """Copy a file, sharing its blocks where the file system can, and return its XXH3 checksum.

    link: make a hard link instead: no space and no time, but whoever changes one changes both.
    """
    source = source.resolve()
    if link:
        try:
            os.link(source, target)
        except OSError:
            link = False  # another file system
    if link or _reflinked(source, target):
        return checksum_of(target)
    with source.open("rb", buffering=0) as file, target.open("wb") as out:
        writer = ChecksumWriter(out)
        writer.copy(file, 0, os.fstat(file.fileno()).st_size)
    return writer.checksum.hexdigest()


def shares_blocks(source: Path, target: Path) -> bool:
    """Return whether files of the folder `source` can share their blocks with copies in the folder `target`."""
    probe = next((path for path in source.iterdir() if path.is_file()), None)
    copy = target / ".probe"
    try:
        return probe is not None and _reflinked(probe.resolve(), copy)
    finally:
        copy.unlink(missing_ok=True)


def checksum_of(path: Path) -> str:
    """Return the XXH3 checksum of a file."""
    checksum = xxhash.xxh3_128()
    block = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(block):
            checksum.update(block[:read])
    return checksum.hexdigest()


def _reflinked(source: Path, target: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as file, target.open("wb") as out:
        try:
            fcntl.ioctl(out.fileno(), FICLONE, file.fileno())
        except OSError:
            return False  # this file system cannot
    return True
