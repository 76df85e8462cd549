"""Where metrics go besides metrics.jsonl: TensorBoard or trackio, for those that have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from vocabkit.errors import UnknownNameError, VocabkitError

LOGGERS = ("tensorboard", "trackio")


class Logger(Protocol):
    """Takes the metrics of every step."""

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Take one step."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def logger_for(name: str, run: Path, facts: Mapping[str, Any]) -> Logger:
    """Return the logger `name` for a run folder; raises VocabkitError when its package is not installed."""
    if name not in LOGGERS:
        raise UnknownNameError("logger", name, LOGGERS)
    try:
        return _TensorBoard(run) if name == "tensorboard" else _Trackio(run, facts)
    except ImportError as error:
        raise VocabkitError(f"--log-to {name} needs the package {name}; run `pip install {name}`") from error


class _TensorBoard:
    def __init__(self, run: Path) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer: Any = SummaryWriter(str(run / "tensorboard"))

    def log(self, metrics: Mapping[str, Any]) -> None:
        for name, value in flat(metrics):
            self._writer.add_scalar(name, value, metrics["step"])

    def close(self) -> None:
        self._writer.close()


class _Trackio:
    def __init__(self, run: Path, facts: Mapping[str, Any]) -> None:
        import trackio

        self._trackio: Any = trackio
        trackio.init(project="vocabkit", name=run.name, config=dict(facts), resume="allow")

    def log(self, metrics: Mapping[str, Any]) -> None:
        self._trackio.log(dict(flat(metrics)), step=metrics["step"])

    def close(self) -> None:
        self._trackio.finish()


def flat(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a step: {"evaluated": {"base": 1.0}} -> ("evaluated/base", 1.0)."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}/{key}", number) for key, number in flat(value))
        elif name != "step":
            yield name, float(value)
