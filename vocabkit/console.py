"""The only module that prints: results on stdout, notes and progress on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vocabkit.vocabulary.verify import Certificate

SECONDS_BETWEEN_LINES = 10.0  # progress on a log file instead of a terminal


def result(text: str) -> None:
    """Print a line of the result, at once."""
    print(text, flush=True)


def piece(text: str) -> None:
    """Print a part of a result that grows, at once."""
    print(text, end="", flush=True)


def result_json(document: object) -> None:
    """Print the one JSON document of a `--json` run."""
    print(json.dumps(document, ensure_ascii=False, indent=2))


def note(text: str) -> None:
    """Print something that is not the result."""
    print(text, file=sys.stderr)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; every column but the first is right-aligned."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        grid.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    # A pipe or a log has no width: never fold a table there.
    width = None if sys.stdout.isatty() else 200
    Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False).print(grid)


def certificate(checks: Certificate) -> None:
    """Print a certificate, one line per guarantee, with examples of what breaks it."""
    for check in checks.checks:
        result(f"  {'ok  ' if check.ok else 'FAIL'} {check.name:<3} {check.title}: {check.detail}")
        for item in check.items[:5]:
            result(f"           {item[:100]}")
        if len(check.items) > 5:
            result(f"           ... and {len(check.items) - 5:,} more (--json lists them)")


class Progress:
    """Says how far a long step is: a bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self._live: Any = None
        self._task: Any = None
        self._last = time.monotonic()
        self._label = ""
        self._first: tuple[float, int] | None = None

    def step(self, label: str) -> None:
        """Begin a step without a known length."""
        self._label = label
        self._last = time.monotonic()
        self._first = None
        if self.quiet:
            return
        if self._live is None:
            self._say(label)
        else:
            self._task = self._fresh(label, None)

    def count(self, done: int, total: int | None, unit: str = "tokens", more: str = "") -> None:
        """Report `done` of `total` units of the current step, and `more` that is worth to be seen."""
        # A plugin's texts have no bytes on disk, and so no rate.
        if self.quiet or not done:
            return
        now = time.monotonic()
        if self._first is None:
            # What a step prepares before its first unit says nothing about its rate.
            self._first = (now, done)
        start, before = self._first
        per_second = (done - before) / max(now - start, 1e-9)
        few = 1 if per_second < 10 else 0
        rate = f"{per_second / 1e6:.1f} MB/s" if unit == "bytes" else f"{per_second:,.{few}f} {unit}/s"
        if self._live is not None:
            self._live.update(self._task, total=total, completed=done, description=f"{self._label}  {more or rate}")
        elif now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            left = f", {(total - done) / per_second:.0f} s left" if total and per_second else ""
            part = f"{done / total:.0%}, " if total else ""
            self._say(f"{self._label}: {part}{f'{more}, ' if more else ''}{rate}{left}")

    def _fresh(self, label: str, total: int | None) -> Any:
        for task in self._live.task_ids:
            self._live.remove_task(task)
        return self._live.add_task(label, total=total)

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """Yield a Progress that draws on stderr while the block runs, and nothing when `quiet`."""
    reporter = Progress(quiet)
    if quiet or not sys.stderr.isatty():
        yield reporter
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as live:
        reporter._live = live
        yield reporter
