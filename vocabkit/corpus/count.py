"""Count the spans of a corpus, on any number of processes, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from vocabkit.corpus.merge import merge_runs
from vocabkit.corpus.runs import Cut, Run, SpanCounter
from vocabkit.corpus.text import Text
from vocabkit.corpus.workers import count_in_workers
from vocabkit.errors import VocabkitError

# One to three MB of UTF-8.
BATCH_CHARACTERS = 1 << 20
BATCH_TEXTS = 20_000
# Starting processes takes half a second: a small corpus is counted before they are ready.
BATCHES_BEFORE_WORKERS = 4


@dataclass(frozen=True)
class SpanCounts:
    """Distinct spans and how often they occur.

    counts: span -> occurrences, in no particular order.  total: occurrences of all spans, dropped ones too.
    characters: length of the text that was cut.
    dropped_spans, dropped_weight: what did not fit into memory: every span that occurs less often than those
        kept, so ties are dropped together.
    """

    counts: dict[str, int]
    total: int
    characters: int
    dropped_spans: int = 0
    dropped_weight: int = 0


def count_spans(
    corpus: Iterable[Text],
    cut: Cut,
    *,
    workers: int = 1,
    max_memory: int = 2 << 30,
    progress: Callable[[], None] | None = None,
    temporary_folder: Path | None = None,
) -> SpanCounts:
    """Return how often each span that `cut` finds occurs; the same for any number of workers.

    cut: (text, starts, lines) -> spans; see Text.  It must be picklable for more than one worker.
    max_memory: bytes for counted spans, all processes together.  Beyond half of it they wait on disk; what is
        too much in the end is dropped, rarest first.
    progress: called after each MB or so of text.
    temporary_folder: where spans wait, the system's by default.
    Raises VocabkitError when the disk is full.
    """
    if workers < 1 or max_memory < 1:
        raise VocabkitError(f"cannot count with {workers} workers in {max_memory} bytes; give at least one of each")
    report = progress or (lambda: None)
    batches = _batches(corpus)
    num_counters = 1 if workers == 1 else workers + 1
    with tempfile.TemporaryDirectory(prefix="vocabkit-", dir=temporary_folder) as name:
        folder = Path(name)
        # Half of it: a table that grows is copied, and what is sorted needs a list.
        share = max_memory // 2 // num_counters
        counter = SpanCounter(cut, folder, share)
        for batch in islice(batches, None if workers == 1 else BATCHES_BEFORE_WORKERS):
            counter.add(batch)
            report()
        rest = next(batches, None)
        if rest is None and not counter.runs:
            return SpanCounts(dict(counter.counts), counter.counts.total(), counter.characters)
        runs: list[Run] = []
        total = characters = 0
        if rest is not None:
            runs, total, characters = count_in_workers(chain([rest], batches), cut, workers, folder, share, report)
        merged = merge_runs([*counter.finish(), *runs], folder, max_memory)
    return SpanCounts(
        merged.counts,
        counter.total + total,
        counter.characters + characters,
        merged.dropped_spans,
        merged.dropped_weight,
    )


def _batches(corpus: Iterable[Text]) -> Iterator[list[Text]]:
    batch: list[Text] = []
    num_characters = 0
    for text in corpus:
        batch.append(text)
        num_characters += len(text.text)
        if num_characters >= BATCH_CHARACTERS or len(batch) >= BATCH_TEXTS:
            yield batch
            batch, num_characters = [], 0
    if batch:
        yield batch
