"""Folders that appear whole or not at all, and checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vocabkit.errors import VocabkitError

# From linux/fs.h.
RENAME_EXCHANGE = 2
MANIFEST = "vocabkit.json"


@contextmanager
def whole_folder(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that takes its place when the block ends well.

    Everything is flushed to disk before the rename, so a kill at any instant leaves the old folder or the new one.
    Raises VocabkitError when `target` exists and `force` is not set, or when the disk is full.
    """
    target = Path(os.path.abspath(target))
    check_target(target, force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        temporary = target.parent / f".{target.name}.{os.getpid()}.partial"
        temporary.mkdir()
    except OSError as error:
        raise VocabkitError(f"cannot write beside {target}: {error.strerror}; choose another --output") from error
    try:
        yield temporary
        _flush(temporary)
        _swap(temporary, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise VocabkitError(
                f"no space left on the disk of {target.parent}; nothing was written there, free some and run again"
            ) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def whole_file(target: Path, *, needed: int = 0) -> Iterator[Path]:
    """Yield the name of a temporary file beside `target` that takes its place when the block ends well.

    Whoever writes it flushes it; a kill at any instant leaves the old file or the new one.  needed: bytes to write.
    Raises VocabkitError when the disk has no room for them, or nothing can be written there.
    """
    target = Path(os.path.abspath(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        free = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise VocabkitError(f"cannot write {target}: {error.strerror}; choose another --output") from error
    if free < needed:
        raise VocabkitError(
            f"the file takes {needed / 1e9:.1f} GB and the disk of {target.parent} has {free / 1e9:.1f} GB free; "
            f"free some, or choose another --output"
        )
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(target)
        _fsync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all, flushed to the disk."""
    written = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with written.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)


def lock(path: Path, *, wait: bool = False) -> BinaryIO | None:
    """Return an open file that no other process can lock until it is closed; None when another one has it.

    wait: until it has it no more.  Where the system has no such locks, everybody gets one.
    """
    file = path.open("ab")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        return None
    except (ImportError, OSError):
        return file
    return file


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_target(target: Path, force: bool) -> None:
    """Raise VocabkitError when `target` may not be written: it is there, and `force` does not apply."""
    if not target.exists():
        return
    if not target.is_dir():
        raise VocabkitError(f"{target} is a file; choose another --output")
    if not any(target.iterdir()):
        return
    if not force:
        raise VocabkitError(f"{target} exists; choose another --output, or replace it with --force")
    if not (target / MANIFEST).is_file():
        raise VocabkitError(f"{target} was not written by vocabkit (it has no {MANIFEST}); choose another --output")


def check_file_target(target: Path, force: bool) -> None:
    """Raise VocabkitError when the file `target` may not be written: it is a folder, or there without `force`."""
    if target.is_dir():
        raise VocabkitError(f"{target} is a folder; name a file in it")
    if target.exists() and not force:
        raise VocabkitError(f"{target} exists; choose another --output, or replace it with --force")


def _remove_leftovers(target: Path) -> None:
    """Remove what a killed run left behind; that of a process which still runs is kept."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(\d+)(\.old)?\.partial")
    for sibling in target.parent.iterdir():
        match = pattern.fullmatch(sibling.name)
        if match and not _is_running(int(match[1])):
            if match[2] and not target.exists():
                sibling.rename(target)
            elif sibling.is_file():
                sibling.unlink(missing_ok=True)
            else:
                shutil.rmtree(sibling, ignore_errors=True)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process_id != os.getpid()


def _flush(folder: Path) -> None:
    """Write every file and folder below `folder` through to the disk."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            _fsync(Path(parent) / name)
        _fsync(Path(parent))


def _fsync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, target: Path) -> None:
    """Put `temporary` in the place of the full folder `target`, which is removed."""
    if _exchange(temporary, target):
        _fsync(target.parent)
        shutil.rmtree(temporary, ignore_errors=True)
        return
    # Two renames: a kill in between leaves the old folder under another name, which the next run puts back.
    old = target.parent / f".{target.name}.{os.getpid()}.old.partial"
    target.rename(old)
    temporary.rename(target)
    _fsync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    if sys.platform != "linux":
        return False
    import ctypes

    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    here = -100  # AT_FDCWD: paths as they are
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), RENAME_EXCHANGE) == 0)


def _swap(temporary: Path, target: Path) -> None:
    if target.exists():
        if any(target.iterdir()):
            _replace(temporary, target)
        else:
            target.rmdir()
            temporary.rename(target)
    else:
        temporary.rename(target)
    _fsync(target.parent)
