"""Count in several processes; each keeps its own counts, so only text goes there and only sums come back."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from vocabkit.corpus.runs import Cut, Run, SpanCounter
from vocabkit.corpus.text import Text
from vocabkit.errors import VocabkitError


def count_in_workers(
    batches: Iterable[list[Text]],
    cut: Cut,
    workers: int,
    folder: Path,
    max_bytes: int,
    report: Callable[[], None],
) -> tuple[list[Run], int, int]:
    """Return the runs of all workers, the weight of their spans, and the length of the text.

    max_bytes: for each worker.  report: called for every batch that is handed out.
    Whatever is raised here or there, no worker is left behind.  Raises VocabkitError when a worker dies.
    """
    crew: dict[Connection, BaseProcess] = {}
    try:
        # First of all, because a cut that cannot be pickled is found without starting anybody.
        job = pickle.dumps((cut, folder, max_bytes))
        with _no_interrupts():
            for number in range(workers):
                _hire(crew, job, str(number + 1))
        for batch in batches:
            _send(_next_idle(crew), crew, batch)
            report()
        idle = list(crew)
        for connection in idle:
            _receive(connection, crew)
            _send(connection, crew, None)
        results = [_receive(connection, crew) for connection in idle]
    finally:
        for connection, process in crew.items():
            connection.close()
            process.terminate()
        for process in crew.values():
            process.join()
    runs, totals, characters = zip(*results, strict=True)
    return [run for some in runs for run in some], sum(totals), sum(characters)


def _hire(crew: dict[Connection, BaseProcess], job: bytes, name: str) -> None:
    # spawn: a fork would copy the locks of whatever threads the caller has.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, job, name), daemon=True)
    process.start()
    # Now theirs is the only other end: when the worker dies, reading ours ends, and the other way round.
    theirs.close()
    crew[ours] = process


def _next_idle(crew: dict[Connection, BaseProcess]) -> Connection:
    """Wait for a worker to say that it has nothing to do: there is never more than one batch on its way."""
    connection = next(c for c in wait(list(crew)) if isinstance(c, Connection))
    _receive(connection, crew)
    return connection


def _send(connection: Connection, crew: dict[Connection, BaseProcess], batch: list[Text] | None) -> None:
    try:
        connection.send(batch)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise _death(crew[connection]) from error


def _receive(connection: Connection, crew: dict[Connection, BaseProcess]) -> Any:
    try:
        error, result = connection.recv()
    except (EOFError, ConnectionResetError) as broken:
        raise _death(crew[connection]) from broken
    if error:
        raise error
    return result


def _death(process: BaseProcess) -> VocabkitError:
    process.join()
    return VocabkitError(
        f"a counting process ended with exit code {process.exitcode}; if it was out of memory use fewer --workers, "
        f"and if this is your own script call count_spans under `if __name__ == '__main__'`"
    )


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, although it reaches the whole terminal; we end them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # It would unblock the signal, if the first worker had to start it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, job: bytes, name: str) -> None:
    """Be a worker: say when idle, count what comes, and answer None with the sums."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that is gone wants nothing any more.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            cut, folder, max_bytes = pickle.loads(job)
            counter = SpanCounter(cut, folder, max_bytes, name)
            connection.send((None, None))
            while (batch := connection.recv()) is not None:
                counter.add(batch)
                connection.send((None, None))
            connection.send((None, (counter.finish(), counter.total, counter.characters)))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        # Any exception may come out of a plugin's code; it is raised again in the parent.
        except Exception as error:
            connection.send((_portable(error), None))


def _portable(error: Exception) -> Exception:
    """Return `error` with its traceback as a note, or a likeness of it when it cannot be pickled."""
    error.add_note("in a counting process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kind = VocabkitError if isinstance(error, VocabkitError) else RuntimeError
        likeness = kind(str(error) if kind is VocabkitError else f"{type(error).__name__}: {error}")
        likeness.__notes__ = error.__notes__
        return likeness
    return error
