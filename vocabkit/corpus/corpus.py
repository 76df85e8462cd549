"""Open a corpus: everything that was named, as one stream of texts that counts what it could not read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from vocabkit.corpus.blocks import read_blocks
from vocabkit.corpus.clean import clean
from vocabkit.corpus.parquet import read_parquet, read_parquet_records
from vocabkit.corpus.plain import read_plain
from vocabkit.corpus.problems import Problems
from vocabkit.corpus.records import read_array, read_json_lines, read_objects, read_word_list
from vocabkit.corpus.sources import Source, find_sources, format_of
from vocabkit.corpus.text import Text
from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry


def open_corpus(
    specs: Sequence[str], *, registry: Registry, field: str = "text", on_bad_text: str = "skip"
) -> Corpus:
    """Return the corpus that `specs` name; nothing is read before it is iterated.

    specs: files, folders, globs, "-", and "reader:argument" for a reader of `registry`.
    field: where JSON Lines, Parquet and data sets hold their text.
    on_bad_text: "skip" drops the line or record, "replace" puts U+FFFD where that is possible, "error" raises.
    Raises VocabkitError for a spec that names nothing.
    """
    sources, repeated = find_sources(specs, registry.corpus_readers, field)
    return Corpus(sources, repeated, field, Problems(on_bad_text))


class Corpus:
    """Texts of several sources, in their order.

    names: what is read, as the user named it.  files: those that are files on disk, for a manifest.
    total_bytes: what `bytes_read` will reach, as the files lie on disk; None when that cannot be known.
    problems: what was skipped or mended since iteration began.
    """

    def __init__(self, sources: list[Source], repeated: list[str], field: str, problems: Problems) -> None:
        self._sources = sources
        self._repeated = repeated
        self._field = field
        self.problems = problems
        self.bytes_read = 0
        self._stdin_is_used = False
        self.names = [source.name for source in sources]
        self.files = [source.path for source in sources if source.path and source.path.is_file()]
        is_known = len(self.files) == len(sources)
        self.total_bytes = sum(path.stat().st_size for path in self.files) if is_known else None

    def __iter__(self) -> Iterator[Text]:
        self.problems.clear()
        self.bytes_read = 0
        for name in self._repeated:
            self.problems.note(name, "named twice, read once")
        for source in self._sources:
            if source.texts:
                yield from self._checked(source.name, source.texts())
            else:
                yield from self._read(source.name, source.path)

    def records(self) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """Yield source, place and object of every record of JSON Lines, JSON arrays and Parquet.

        place: the offset in bytes, or the record's number.  Raises VocabkitError for sources that have no records.
        """
        self.problems.clear()
        self.bytes_read = 0
        for source in self._sources:
            path, name = source.path, source.name
            if path is None or (kind := format_of(path)) not in ("json lines", "parquet"):
                raise VocabkitError(f"{name} has no records; name JSON Lines, a JSON array or Parquet")
            if kind == "parquet":
                found = read_parquet_records(path, self.problems, self._advance)
            else:
                found = self._json_records(name, path)
            for place, record in found:
                yield name, place, record

    def _json_records(self, name: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        with self._open(path) as file:
            blocks = read_blocks(file, name, self.problems, self._advance)
            first = next(blocks, b"")
            if first.lstrip().startswith(b"["):
                yield from read_array(b"".join([first, *blocks]), name, self.problems)
            else:
                yield from read_objects(chain([first], blocks), name, self.problems)

    def _read(self, name: str, path: Path | None) -> Iterator[Text]:
        """Read a file, or stdin, which is plain text."""
        try:
            if path and format_of(path) == "parquet":
                yield from read_parquet(path, self.problems, self._field, self._advance)
                return
            with self._open(path) as file:
                blocks = read_blocks(file, name, self.problems, self._advance)
                match format_of(path) if path else "plain":
                    case "json lines":
                        yield from read_json_lines(blocks, name, self.problems, self._field)
                    case "word list":
                        yield from read_word_list(blocks, name, self.problems)
                    case _:
                        yield from read_plain(blocks, name, self.problems)
        except OSError as error:
            raise VocabkitError(f"{name} cannot be read: {error.strerror or error}; check the file") from error

    def _open(self, path: Path | None) -> AbstractContextManager[BinaryIO]:
        if path:
            return path.open("rb")
        if self._stdin_is_used:
            raise VocabkitError("stdin can be read only once; write it to a file and name that")
        self._stdin_is_used = True
        # Not ours to close.
        return nullcontext(sys.stdin.buffer)

    def _checked(self, name: str, texts: Iterable[Any]) -> Iterator[Text]:
        """Yield what a plugin gave, held to the rules that our own readers keep."""
        if not isinstance(texts, Iterable):
            raise VocabkitError(f"{name} gave {texts!r:.80}; its reader must yield Text with a positive weight")
        for text in texts:
            if not isinstance(text, Text) or text.weight < 1:
                raise VocabkitError(f"{name} gave {text!r:.80}; its reader must yield Text with a positive weight")
            cleaned = clean(text.text, name, "text", None, self.problems)
            if cleaned:
                yield text if cleaned == text.text else replace(text, text=cleaned)
            elif cleaned == "":
                self.problems.bad(name, "text", "nothing in it", None)

    def _advance(self, num_bytes: int) -> None:
        self.bytes_read += num_bytes
