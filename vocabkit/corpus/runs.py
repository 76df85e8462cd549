"""Count spans into a dictionary that goes to disk, sorted, when it grows past a bound."""

from __future__ import annotations

import errno
import marshal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vocabkit.corpus.text import Text
from vocabkit.errors import VocabkitError

Cut = Callable[[str, bool, bool], Iterable[str]]
# In CPython 3.11-3.13: a string's header, an integer, and a place in a table that is between 1/3 and 2/3 full.
ENTRY_BYTES = 200
# Most scripts of the basic plane; the rare characters beyond it take four.
CHARACTER_BYTES = 2
SPANS_PER_CHUNK = 8192
LENGTH_BYTES = 8


@dataclass(frozen=True)
class Run:
    """Distinct counted spans on disk; `num_bytes` is what they would take in memory."""

    path: Path
    num_bytes: int
    is_sorted: bool = True


class SpanCounter:
    """Counts spans of texts; beyond `max_bytes` of them they move to a new run in `folder`.

    counts: what is in memory.  runs: what is on disk.  total: weight of all spans that were moved.
    characters: length of the text so far.  name: distinguishes the runs of several counters.
    """

    def __init__(self, cut: Cut, folder: Path, max_bytes: int, name: str = "0") -> None:
        self.counts: Counter[str] = Counter()
        self.runs: list[Run] = []
        self.total = 0
        self.characters = 0
        self._cut = cut
        self._folder = folder
        self._max_bytes = max_bytes
        self._name = name
        self._num_bytes = 0

    def add(self, texts: Iterable[Text]) -> None:
        """Count the spans of `texts`."""
        counts = self.counts
        num_known = len(counts)
        for text in texts:
            self.characters += len(text.text)
            spans = self._cut(text.text, text.starts, text.lines)
            if text.weight == 1:
                counts.update(spans)
            else:
                for span in spans:
                    counts[span] += text.weight
        # A dictionary keeps the order of arrival: what is new stands at its end.
        num_new = len(counts) - num_known
        self._num_bytes += memory_of(islice(reversed(counts), num_new), num_new)
        if self._num_bytes > self._max_bytes:
            self._move(is_sorted=True)

    def finish(self) -> list[Run]:
        """Move what is in memory to disk, and return all runs."""
        if self.counts:
            # Most often all fit into memory in the end, and need no order.
            self._move(is_sorted=False)
        return self.runs

    def _move(self, is_sorted: bool) -> None:
        self.total += self.counts.total()
        path = self._folder / f"{self._name}-{len(self.runs)}"
        self.runs.append(write_run(path, chunks_of(self.counts, is_sorted), is_sorted))
        self.counts.clear()
        self._num_bytes = 0


def memory_of(spans: Iterable[str], num_spans: int) -> int:
    """Return about how many bytes a dictionary of counted spans takes; it depends on the spans alone."""
    return ENTRY_BYTES * num_spans + CHARACTER_BYTES * sum(map(len, spans))


def write_run(path: Path, chunks: Iterable[tuple[list[str], list[int]]], is_sorted: bool = True) -> Run:
    """Write chunks of spans and their counts; raises VocabkitError when the disk is full."""
    num_bytes = 0
    try:
        with path.open("wb") as file:
            for spans, counts in chunks:
                # marshal is fast, and this Python alone reads it again; version 2 looks for no equal strings.
                data = marshal.dumps((spans, counts), 2)
                file.write(len(data).to_bytes(LENGTH_BYTES) + data)
                num_bytes += memory_of(spans, len(spans))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise VocabkitError(
            f"no space left in {path.parent.parent} for counted spans; free some, set TMPDIR, or raise --max-memory"
        ) from error
    return Run(path, num_bytes, is_sorted)


def read_run(run: Run) -> Iterator[tuple[list[str], list[int]]]:
    """Yield the chunks of a run."""
    with run.path.open("rb") as file:
        # Whole chunks: marshal.load would call the file for every span.
        while length := file.read(LENGTH_BYTES):
            yield marshal.loads(file.read(int.from_bytes(length)))


def chunks_of(counts: Mapping[str, int], is_sorted: bool) -> Iterator[tuple[list[str], list[int]]]:
    """Yield counted spans in chunks, sorted or as they lie."""
    spans = sorted(counts) if is_sorted else list(counts)
    for start in range(0, len(spans), SPANS_PER_CHUNK):
        chunk = spans[start : start + SPANS_PER_CHUNK]
        yield chunk, [counts[span] for span in chunk]
