"""Merge runs of counted spans exactly, and keep the most frequent when not all fit into memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vocabkit.corpus.runs import CHARACTER_BYTES, ENTRY_BYTES, Run, chunks_of, read_run, write_run

# Open files, and chunks in memory, at a time.
MAX_RUNS = 64


@dataclass(frozen=True)
class Merged:
    """The spans that fit, and how many did not, with their occurrences."""

    counts: dict[str, int]
    dropped_spans: int
    dropped_weight: int


def merge_runs(runs: Sequence[Run], folder: Path, max_bytes: int) -> Merged:
    """Return the sums of all runs, without the rarest if the distinct spans take more than `max_bytes`.

    Kept are the spans that occur at least so often that they just fit: a rule of the sums alone, so the
    result does not depend on how many runs there were.
    """
    if sum(run.num_bytes for run in runs) <= max_bytes:
        return Merged(_added(runs), 0, 0)
    merged = _merge_all(runs, folder)
    memory_of_count: defaultdict[int, int] = defaultdict(int)
    for spans, counts in read_run(merged):
        for span, count in zip(spans, counts, strict=True):
            memory_of_count[count] += ENTRY_BYTES + CHARACTER_BYTES * len(span)
    return _most_frequent(merged, _smallest_count(memory_of_count, max_bytes))


def _added(runs: Sequence[Run]) -> dict[str, int]:
    sums: dict[str, int] = {}
    get = sums.get
    for run in runs:
        for spans, counts in read_run(run):
            for span, count in zip(spans, counts, strict=True):
                sums[span] = get(span, 0) + count
    return sums


def _merge_all(runs: Sequence[Run], folder: Path) -> Run:
    waiting = [run if run.is_sorted else _sorted(run) for run in runs]
    while len(waiting) > 1:
        some, waiting = waiting[:MAX_RUNS], waiting[MAX_RUNS:]
        # Named by the first of them, which it replaces.
        merged = write_run(folder / f"{some[0].path.name}-merged", _merge(some))
        for run in some:
            run.path.unlink()
        waiting.append(merged)
    return waiting[0]


def _sorted(run: Run) -> Run:
    # Its counter held it in memory, so it fits.
    return write_run(run.path, chunks_of(_added([run]), is_sorted=True))


def _merge(runs: Sequence[Run]) -> Iterator[tuple[list[str], list[int]]]:
    """Yield the sorted sums of `runs`.

    In each round everything up to the smallest last span of the chunks at hand is added up and leaves: no
    later chunk can hold those spans, and sorting a few thousand at once beats a heap of single spans.
    """
    readers = [read_run(run) for run in runs]
    heads = [(reader, *chunk) for reader in readers for chunk in [next(reader, None)] if chunk]
    while heads:
        last = min(spans[-1] for _, spans, _ in heads)
        sums: dict[str, int] = {}
        rest = []
        for reader, spans, counts in heads:
            end = bisect_right(spans, last)
            for span, count in zip(spans[:end], counts[:end], strict=True):
                sums[span] = sums.get(span, 0) + count
            chunk = (spans[end:], counts[end:]) if end < len(spans) else next(reader, None)
            if chunk:
                rest.append((reader, *chunk))
        heads = rest
        ordered = sorted(sums)
        yield ordered, [sums[span] for span in ordered]


def _smallest_count(memory_of_count: Mapping[int, int], max_bytes: int) -> int:
    """Return the smallest count such that all spans with at least that count fit."""
    smallest = max(memory_of_count) + 1
    for count in sorted(memory_of_count, reverse=True):
        max_bytes -= memory_of_count[count]
        if max_bytes < 0:
            break
        smallest = count
    return smallest


def _most_frequent(run: Run, smallest: int) -> Merged:
    kept: dict[str, int] = {}
    dropped_spans = dropped_weight = 0
    for spans, counts in read_run(run):
        for span, count in zip(spans, counts, strict=True):
            if count >= smallest:
                kept[span] = count
            else:
                dropped_spans += 1
                dropped_weight += count
    return Merged(kept, dropped_spans, dropped_weight)
