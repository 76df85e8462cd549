"""A dictionary of counts that goes to disk when it gets too big, and comes back exact."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType

# A dictionary entry, a str header and an int in CPython 3.11-3.13, and two bytes a character beyond Latin-1.
ENTRY_BYTES = 200
CHARACTER_BYTES = 2
SAMPLE = 1000


def cost(span: str) -> int:
    """Return about how many bytes a counted span takes in memory."""
    return ENTRY_BYTES + CHARACTER_BYTES * len(span)


class SpanStore:
    """Adds up counts of spans; at most about `max_memory` bytes of them are in memory at a time."""

    def __init__(self, max_memory: int) -> None:
        self.max_memory = max_memory
        self._counts: dict[str, int] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._runs: list[Path] = []

    def __enter__(self) -> SpanStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, counts: Mapping[str, int]) -> None:
        """Add counts; write what is held to disk when it has grown past the bound."""
        if not self._counts:
            self._counts = dict(counts)
        else:
            held = self._counts
            get = held.get
            for span, count in counts.items():
                held[span] = get(span, 0) + count
        if self._estimate() > self.max_memory:
            self._spill()

    def result(self) -> tuple[dict[str, int], int, int, int]:
        """Return (counts, occurrences in all, spans left out, their occurrences).

        Left out are the rarest spans, if the distinct spans do not fit: all below the smallest count with which
        the others do.  That depends on the corpus and the bound alone.
        """
        if not self._runs:
            total = sum(self._counts.values())
            if sum(map(cost, self._counts)) <= self.max_memory:
                return self._counts, total, 0, 0
        elif self._counts:
            self._spill()
        costs: dict[int, int] = {}
        for span, count in self._merged():
            costs[count] = costs.get(count, 0) + cost(span)
        least = self._least_count(costs)
        kept: dict[str, int] = {}
        total = dropped_spans = dropped_weight = 0
        for span, count in self._merged():
            total += count
            if count >= least:
                kept[span] = count
            else:
                dropped_spans += 1
                dropped_weight += count
        return kept, total, dropped_spans, dropped_weight

    def _estimate(self) -> int:
        sample = list(islice(self._counts, SAMPLE))
        return len(self._counts) * sum(map(cost, sample)) // max(len(sample), 1)

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="vocabkit-")
        path = Path(self._folder.name) / f"{len(self._runs)}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for span in sorted(self._counts):
                file.write(json.dumps([span, self._counts[span]], ensure_ascii=False) + "\n")
        self._runs.append(path)
        self._counts = {}

    def _merged(self) -> Iterator[tuple[str, int]]:
        """Yield every distinct span with its count."""
        if not self._runs:
            yield from self._counts.items()
            return
        current: str | None = None
        sum_of_counts = 0
        for span, count in heapq.merge(*(_read_run(path) for path in self._runs)):
            if span == current:
                sum_of_counts += count
                continue
            if current is not None:
                yield current, sum_of_counts
            current, sum_of_counts = span, count
        if current is not None:
            yield current, sum_of_counts

    def _least_count(self, costs: Mapping[int, int]) -> int:
        held = 0
        least = max(costs, default=0) + 1
        for count in sorted(costs, reverse=True):
            held += costs[count]
            if held > self.max_memory:
                break
            least = count
        return least


def _read_run(path: Path) -> Iterator[tuple[str, int]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            span, count = json.loads(line)
            yield span, count
