"""What every step did: a line each in the run's folder, and to a logger."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vocabkit.files import write_whole
from vocabkit.train.loggers import logger_for
from vocabkit.train.settings import Settings

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Step:
    """What a step did.

    loss: nats a token.  bits_per_byte: of the step's own text.  new_tokens: share of the learned ids that are new.
    memory_bytes: the process's peak, of the GPU where there is one.  evaluated: name of a text -> bits per byte.
    """

    step: int
    loss: float
    bits_per_byte: float
    gradient_norm: float
    learning_rate: float
    tokens: int
    bytes: int
    new_tokens: float
    sources: dict[str, int]
    seconds: float
    memory_bytes: int
    evaluated: dict[str, float] = field(default_factory=dict)


@contextmanager
def logged(folder: Path, settings: Settings, log_to: str | None, *, writes: bool) -> Iterator[Callable[[Step], None]]:
    """Yield what writes a step to metrics.jsonl, and to a logger when there is one; nothing unless `writes`."""
    if not writes:
        yield lambda step: None
        return
    logger = logger_for(log_to, folder, settings.to_json()) if log_to else None

    def write(step: Step) -> None:
        data = {name: value for name, value in asdict(step).items() if value != {}}
        append(folder, data)
        if logger:
            logger.log(data)

    try:
        yield write
    finally:
        if logger:
            logger.close()


def append(folder: Path, data: Mapping[str, Any]) -> None:
    """Write one line to metrics.jsonl, which is on the disk afterwards."""
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(data) + "\n")
        file.flush()
        os.fsync(file.fileno())


def truncate_metrics(folder: Path, step: int) -> None:
    """Remove the lines of steps that were taken after the checkpoint of `step`."""
    path = folder / METRICS
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            continue  # half a line, of a run that was killed
    write_whole(path, "".join(f"{line}\n" for line in kept))
