"""Count the distinct spans of a corpus, on several cores, within a memory bound."""

from __future__ import annotations

import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

from vocabkit.corpus.spill import SpanStore
from vocabkit.corpus.text import Text

Cut = Callable[[str, bool, bool], Iterable[str]]
BATCH_CHARACTERS = 1 << 20
BATCH_TEXTS = 20_000
# Starting processes takes half a second: a small corpus is counted before they are ready.
BATCHES_BEFORE_WORKERS = 4


@dataclass(frozen=True)
class SpanCounts:
    """Distinct spans with their occurrences.

    total: occurrences of all spans.  dropped_spans, dropped_weight: what the memory bound left out.
    """

    counts: dict[str, int]
    total: int
    dropped_spans: int = 0
    dropped_weight: int = 0


def count_spans(
    corpus: Iterable[Text],
    cut: Cut,
    *,
    workers: int = 1,
    max_memory: int = 2 << 30,
    progress: Callable[[], None] | None = None,
) -> SpanCounts:
    """Return how often each span that `cut` finds occurs; the same for any number of workers.

    cut: (text, starts, lines) -> spans; picklable when there are workers.
    max_memory: bytes for distinct spans.  Beyond it counts go to disk and are merged exactly; when the distinct
    spans themselves do not fit, the rarest are left out and counted.
    """
    with SpanStore(max_memory) as store:
        for counts in _counted(_batches(corpus), cut, workers):
            store.add(counts)
            if progress:
                progress()
        kept, total, dropped_spans, dropped_weight = store.result()
    return SpanCounts(kept, total, dropped_spans, dropped_weight)


def _batches(corpus: Iterable[Text]) -> Iterator[list[Text]]:
    batch: list[Text] = []
    characters = 0
    for text in corpus:
        batch.append(text)
        characters += len(text.text)
        if characters >= BATCH_CHARACTERS or len(batch) >= BATCH_TEXTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _counted(batches: Iterator[list[Text]], cut: Cut, workers: int) -> Iterator[dict[str, int]]:
    for number, batch in enumerate(batches, 1):
        yield _count_batch(cut, batch)
        if workers > 1 and number == BATCHES_BEFORE_WORKERS:
            break
    else:
        return
    waiting: deque[Future[dict[str, int]]] = deque()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_keep_cut, initargs=(cut,))
    try:
        for batch in batches:
            waiting.append(pool.submit(_count_kept, batch))
            # Two batches a worker: nobody waits, and no more than that is in memory.
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _count_batch(cut: Cut, batch: Iterable[Text]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for text in batch:
        spans = cut(text.text, text.starts, text.lines)
        if text.weight == 1:
            counts.update(spans)
        else:
            for span in spans:
                counts[span] += text.weight
    return counts


_cut_of_this_process: Cut | None = None


def _keep_cut(cut: Cut) -> None:
    global _cut_of_this_process
    _cut_of_this_process = cut


def _count_kept(batch: list[Text]) -> dict[str, int]:
    if _cut_of_this_process is None:
        raise RuntimeError("the worker was started without its cutter")
    return _count_batch(_cut_of_this_process, batch)
