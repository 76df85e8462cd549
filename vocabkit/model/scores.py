"""What a model makes of text: the bits that every document costs, and how much new tokens take from old ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Tokens in one pass: logits of a large vocabulary are what fills the memory.
TOKENS_PER_PASS = 2048


@dataclass(frozen=True)
class Window:
    """A part of a document that is scored in one pass.

    ids: what the model reads.  scored: how many of the last ids count; the others are only context.
    """

    document: int
    ids: list[int]
    scored: int


def document_bits(
    model: Any,
    documents: Sequence[Sequence[int]],
    start: int,
    *,
    context: int = 1024,
    progress: Callable[[int], None] | None = None,
) -> list[float]:
    """Return how many bits each document costs: -sum log2 p(token | `start`, tokens before it).

    start: the id that every document begins after (BOS, or whatever separates documents); it is not scored.
    context: tokens that the model sees at most; a longer document is read in windows that overlap by half, and every
        token is scored once, with at least half a window before it.
    """
    import torch

    bits = [0.0] * len(documents)
    windows = [window for i, ids in enumerate(documents) for window in _windows(i, ids, start, context)]
    windows.sort(key=lambda window: len(window.ids))
    done = 0
    for batch in _batches(windows):
        ids, mask = _padded(batch, model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        for row, window in zip(nats, batch, strict=True):
            end = len(window.ids) - 1
            bits[window.document] += float(row[end - window.scored : end].double().sum()) / math.log(2)
        done += sum(window.scored for window in batch)
        if progress:
            progress(done)
    return bits


def scored_batches(
    documents: Sequence[Sequence[int]], start: int, *, context: int = 1024
) -> Iterator[tuple[Any, Any]]:
    """Yield ids and labels, [B, T] int64 each: the windows of `document_bits`; labels are -100 where nothing counts.

    labels[:, t] is what comes after ids[:, t].
    """
    windows = [window for i, ids in enumerate(documents) for window in _windows(i, ids, start, context)]
    windows.sort(key=lambda window: len(window.ids))
    for batch in _batches(windows):
        ids, _ = _padded(batch, "cpu")
        labels = ids.new_full(ids.shape, -100)
        for row, window in enumerate(batch):
            end = len(window.ids) - 1
            labels[row, end - window.scored : end] = ids[row, end - window.scored + 1 : end + 1]
        yield ids, labels


def log_z_shift(
    model: Any, documents: Sequence[Sequence[int]], start: int, size: int, *, context: int = 1024
) -> tuple[float, float]:
    """Return the mean and the greatest log(sum over all ids) - log(sum over the first `size` ids) of exp(logit).

    This is how much log probability every old token loses to the new ones.
    """
    import torch

    total, greatest, count = 0.0, 0.0, 0
    windows = [Window(i, [start, *ids][:context], 0) for i, ids in enumerate(documents)]
    windows.sort(key=lambda window: len(window.ids))
    for batch in _batches(windows):
        ids, mask = _padded(batch, model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits.float()
        shift = (logits.logsumexp(-1) - logits[..., :size].logsumexp(-1))[mask.bool()]
        total += float(shift.double().sum())
        greatest = max(greatest, float(shift.max()))
        count += len(shift)
    return total / max(count, 1), greatest


def _windows(document: int, ids: Sequence[int], start: int, context: int) -> Iterator[Window]:
    everything = [start, *ids]
    done = 1
    while done < len(everything):
        begin = max(0, done - context // 2) if done > 1 else 0
        end = min(len(everything), begin + context)
        yield Window(document, everything[begin:end], end - done)
        done = end


def _batches(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Yield windows of similar length together; they come sorted by length."""
    batch: list[Window] = []
    for window in windows:
        if batch and (len(batch) + 1) * len(window.ids) > TOKENS_PER_PASS:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _padded(batch: Sequence[Window], device: Any) -> tuple[Any, Any]:
    import torch

    length = max(len(window.ids) for window in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    mask = torch.zeros(len(batch), length, dtype=torch.long)
    for row, window in enumerate(batch):
        ids[row, : len(window.ids)] = torch.tensor(window.ids)
        mask[row, : len(window.ids)] = 1
    return ids.to(device), mask.to(device)
