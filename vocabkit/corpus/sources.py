"""Find out what the words after `--corpus` name: files, folders, globs, stdin, and readers of plugins."""

from __future__ import annotations

import glob
import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vocabkit.corpus import archive
from vocabkit.errors import UnknownNameError, VocabkitError

Readers = Mapping[str, Callable[..., Iterable[Any]]]

STDIN = "-"
# What is read in a folder, and how; a file that is named is read as plain text when it has another suffix.
FORMATS = {
    ".txt": "plain",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".jsonlines": "json lines",
    ".tsv": "word list",
    ".parquet": "parquet",
}
# Two letters at least: `C:\books` is a path.
PREFIX = re.compile(r"([A-Za-z][\w-]+):(.*)", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """One thing to read: a file (`path`), what a plugin's reader yields (`texts`), or else stdin.

    name: as the user wrote it, or as it lies in a named folder.  key: equal for two names of one file.
    """

    name: str
    key: str
    path: Path | None = None
    texts: Callable[[], Iterable[Any]] | None = None


def find_sources(specs: Sequence[str], readers: Readers, field: str) -> tuple[list[Source], list[str]]:
    """Return what `specs` name, each once, in their order, and the names that repeat an earlier one.

    field: passed on to readers that take it.
    Raises VocabkitError for a spec that names nothing, UnknownNameError for a prefix without a reader.
    """
    sources: dict[str, Source] = {}
    repeated = []
    for spec in specs:
        for source in _sources(spec, readers, field):
            if source.key in sources:
                repeated.append(source.name)
            else:
                sources[source.key] = source
    return list(sources.values()), repeated


def format_of(path: Path) -> str:
    """Return the format that a file's name tells, "plain" when it tells none."""
    suffix = _suffix(path.name)
    # Data sets often give JSON Lines this suffix, but in a folder it is more often something else.
    return "json lines" if suffix == ".json" else FORMATS.get(suffix, "plain")


def _sources(spec: str, readers: Readers, field: str) -> Iterator[Source]:
    if spec == STDIN:
        yield Source("stdin", STDIN)
        return
    name = os.path.expanduser(spec)
    if os.path.isdir(name):
        yield from map(_file, _files_in(name))
    elif os.path.exists(name):
        yield _file(name)
    elif match := PREFIX.fullmatch(spec):
        prefix, argument = match.groups()
        if prefix not in readers:
            raise UnknownNameError("corpus reader", prefix, readers)
        yield Source(spec, spec, texts=_call(readers[prefix], argument, field))
    elif glob.has_magic(name):
        yield from map(_file, _files_matching(name))
    else:
        raise VocabkitError(f"{spec!r} does not exist; give a file, a folder, a glob, - for stdin, or READER:NAME")


def _file(name: str) -> Source:
    return Source(name, os.path.realpath(name), Path(name))


def _call(reader: Callable[..., Iterable[Any]], argument: str, field: str) -> Callable[[], Iterable[Any]]:
    """Return the call of a plugin's reader: `read(argument)`, or `read(argument, field=...)` if it takes that."""
    parameters = inspect.signature(reader).parameters.values()
    takes_field = any(p.name == "field" or p.kind is p.VAR_KEYWORD for p in parameters)
    return partial(reader, argument, field=field) if takes_field else partial(reader, argument)


def _files_in(folder: str) -> list[str]:
    """Return the files with a known suffix below `folder`, in the order of their paths; hidden ones are left out."""
    found = []
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        # A link to a folder above would go round for ever.
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(parent, name) for name in names if not name.startswith(".") and _suffix(name) in FORMATS
        ]
    if not found:
        raise VocabkitError(f"{folder} holds no text; it needs files that end in {', '.join(FORMATS)}")
    return sorted(found, key=lambda name: Path(name).parts)


def _files_matching(pattern: str) -> list[str]:
    found = sorted(filter(os.path.isfile, glob.iglob(pattern, recursive=True)), key=lambda name: Path(name).parts)
    if not found:
        raise VocabkitError(f"{pattern!r} matches no file; quote it, and use ** to look into folders")
    return found


def _suffix(name: str) -> str:
    """Return the suffix below a compression suffix: "a.jsonl.zst" -> ".jsonl"."""
    stem, suffix = os.path.splitext(name.lower())
    return os.path.splitext(stem)[1] if suffix in archive.SUFFIXES else suffix
