"""Open what `--corpus` names: files, folders, globs, stdin, and what plugins read."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from vocabkit.corpus.blocks import read_blocks
from vocabkit.corpus.plain import read_plain
from vocabkit.corpus.problems import Problems
from vocabkit.corpus.records import read_jsonl, read_parquet, read_table
from vocabkit.corpus.text import Text
from vocabkit.errors import UnknownNameError, VocabkitError
from vocabkit.plugins import Registry

STDIN = "-"
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
FORMATS = (".txt", ".jsonl", ".ndjson", ".tsv", ".parquet")
_PREFIX = re.compile(r"([A-Za-z][\w-]+):(.*)", re.DOTALL)  # two letters at least: C: is a drive


def open_corpus(
    specs: Sequence[str], *, registry: Registry, field: str = "text", on_bad_text: str = "skip"
) -> Corpus:
    """Return the texts that `specs` name, without reading them yet.

    specs: a file, a folder (its .txt, .jsonl, .ndjson, .tsv and .parquet files, compressed too), a glob, "-" for
    stdin, or PREFIX:ARGUMENT for a reader plugin.  A file named twice is read once.
    field: of JSON Lines and Parquet.  on_bad_text: skip, replace or error.
    Raises VocabkitError when something named is not there.
    """
    sources: list[_Source] = []
    seen: set[Path] = set()
    for spec in specs:
        for source in _sources_of(spec, registry):
            if source.path is None or source.path.resolve() not in seen:
                sources.append(source)
            if source.path is not None:
                seen.add(source.path.resolve())
    return Corpus(sources, specs, field, Problems(on_bad_text))


class _Source:
    def __init__(self, name: str, path: Path | None = None, read: Callable[[], Iterable[Text]] | None = None) -> None:
        self.name = name
        self.path = path
        self.read = read


class Corpus:
    """An iterable of Text.

    names: as given.  files: the files that are read.  problems: what was wrong, complete after iterating.
    total_bytes: on disk; None when stdin or a plugin is among the sources.  bytes_read: so far.
    """

    def __init__(self, sources: Sequence[_Source], names: Sequence[str], field: str, problems: Problems) -> None:
        self.names = list(names)
        self.files = [source.path for source in sources if source.path is not None]
        self.problems = problems
        self.bytes_read = 0
        self.total_bytes = (
            sum(path.stat().st_size for path in self.files) if len(self.files) == len(sources) else None
        )
        self._sources = sources
        self._field = field

    def __iter__(self) -> Iterator[Text]:
        for source in self._sources:
            if source.read is not None:
                yield from source.read()
            elif source.path is None:
                yield from self._read_stream(sys.stdin.buffer, "stdin", ".txt")
            else:
                yield from self._read_file(source.path, source.name)

    def _read_file(self, path: Path, name: str) -> Iterator[Text]:
        kind = _format_of(path)
        if kind == ".parquet":
            yield from read_parquet(path, name, self.problems, self._field)
            self._advance(path.stat().st_size)
            return
        try:
            with path.open("rb") as file:
                yield from self._read_stream(file, name, kind)
        except OSError as error:
            raise VocabkitError(
                f"cannot read {name}: {error.strerror or error}; check the file and its rights"
            ) from error

    def _read_stream(self, file: IO[bytes], name: str, kind: str) -> Iterator[Text]:
        blocks = read_blocks(file, name, self.problems, self._advance)
        if kind in (".jsonl", ".ndjson"):
            return read_jsonl(blocks, name, self.problems, self._field)
        if kind == ".tsv":
            return read_table(blocks, name, self.problems)
        return read_plain(blocks, name, self.problems)

    def _advance(self, size: int) -> None:
        self.bytes_read += size


def _sources_of(spec: str, registry: Registry) -> list[_Source]:
    path = Path(spec)
    if spec == STDIN:
        return [_Source("stdin")]
    if path.is_file() or path.is_fifo():
        return [_Source(spec, path)]
    if path.is_dir():
        found = [Path(root) / name for root, _, names in os.walk(path) for name in names]
        found = [p for p in found if _format_of(p) in FORMATS and not _is_hidden(p.relative_to(path))]
        if not found:
            raise VocabkitError(f"{spec} holds no {', '.join(FORMATS)} file; name its files, or another folder")
        return [_Source(str(p), p) for p in sorted(found)]
    match = _PREFIX.fullmatch(spec)
    if match:
        prefix, argument = match[1], match[2]
        if prefix not in registry.corpus_readers:
            raise UnknownNameError("corpus reader", prefix, registry.corpus_readers)
        reader = registry.corpus_readers[prefix]
        return [_Source(spec, read=lambda: reader(argument))]
    if glob.has_magic(spec):
        names = sorted(name for name in glob.glob(spec, recursive=True) if Path(name).is_file())
        if not names:
            raise VocabkitError(f"no file matches {spec}; check the pattern")
        return [_Source(name, Path(name)) for name in names]
    raise VocabkitError(f"{spec} does not exist; name a file, a folder, a glob, `-` or PREFIX:NAME after --corpus")


def _format_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
