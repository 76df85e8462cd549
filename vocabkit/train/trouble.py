"""What comes from outside while a run works: signals that ask it to stop, and memory that runs out."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vocabkit.errors import VocabkitError
from vocabkit.train.settings import Settings


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """Yield a list that gets a signal's number when one asks to stop; the second one is not held back."""
    stop: list[int] = []
    before: dict[int, Any] = {}

    def asked(number: int, _: Any) -> None:
        stop.append(number)
        signal.signal(number, before[number])

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        try:
            before[number] = signal.signal(number, asked)
        except ValueError:
            break  # not the main thread
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def peak_bytes(device: str) -> int:
    """Return the most memory that was in use, bytes: of the GPU, or of this process on a CPU."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def enough_memory(settings: Settings) -> Iterator[None]:
    """Say what to change when memory runs out while the block runs."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # A CPU's allocator has no exception of its own.
        is_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
        if not is_memory:
            raise
        smaller = (
            f"--micro-batch {settings.micro_batch // 2}" if settings.micro_batch > 1 else "a smaller --block-size"
        )
        more = "" if settings.checkpointing else ", --checkpointing"
        raise VocabkitError(
            f"memory ran out with passes of {settings.micro_batch} sequences of {settings.block_size}; "
            f"use {smaller}{more} or --quantize nf4, and go on with --resume"
        ) from error
