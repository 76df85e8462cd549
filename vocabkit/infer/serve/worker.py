"""The thread that runs the model, and how requests reach it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.infer.engine import Engine
from vocabkit.infer.sampling import Sampling
from vocabkit.infer.scheduler import Scheduler
from vocabkit.infer.writing import Event, Writing


class BusyError(VocabkitError):
    """More requests wait than may."""


class Worker:
    """Runs a scheduler in a thread of its own, which alone touches the model.

    max_batch: texts written at once.  max_waiting: texts that may wait for that.
    cancelled: answers that nobody waited for to the end.
    """

    def __init__(self, engine: Engine, *, max_batch: int = 16, max_waiting: int = 256) -> None:
        self.engine, self.max_batch, self.max_waiting = engine, max_batch, max_waiting
        self._scheduler = Scheduler(engine, max_batch=max_batch)
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._listeners: dict[Writing, Answer] = {}
        self._is_stopping = False
        self._open = 0
        self.cancelled = 0
        self._thread = threading.Thread(target=self._run, name="vocabkit-model", daemon=True)

    @property
    def active(self) -> int:
        """How many texts are being written."""
        return self._scheduler.active

    @property
    def waiting(self) -> int:
        """How many texts wait for a place."""
        return max(0, self._open - self._scheduler.active)

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values."""
        return self._scheduler.cache_bytes

    @property
    def is_alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End every text and the thread."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        self._thread.join()

    def write(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Answer]:
        """Begin an answer to every prompt, all or none; call it in the event loop that will read them.

        Raises BusyError when more would wait than may, and VocabkitError when the context cannot hold a prompt.
        """
        for ids in prompts:
            self.engine.checked_length(len(ids), sampling.max_new_tokens)
        if self.waiting + len(prompts) > self.max_waiting + max(0, self.max_batch - self.active):
            raise BusyError(f"{self.waiting} requests wait already; try again later")
        answers = [Answer(self, asyncio.get_running_loop()) for _ in prompts]
        self._open += len(answers)

        def begin() -> None:
            for number, (ids, answer) in enumerate(zip(prompts, answers, strict=True)):
                if answer.is_closed:
                    continue
                answer.writing = self._scheduler.submit(ids, sampling, number=number)
                self._listeners[answer.writing] = answer

        self._do(begin)
        return answers

    async def call(self, function: Callable[[], Any]) -> Any:
        """Return what a function gives in the model's thread, between two steps."""
        future: Future[Any] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except Exception as error:
                    future.set_exception(error)

        self._do(work)
        return await asyncio.wrap_future(future)

    def cancel(self, answer: Answer) -> None:
        """End an answer that nobody waits for."""
        self.cancelled += 1

        def end() -> None:
            if answer.writing is not None:
                self._scheduler.cancel(answer.writing)

        self._do(end)

    def closed(self) -> None:
        """Count an answer that was read to its end, or given up."""
        self._open -= 1

    def _do(self, job: Callable[[], None]) -> None:
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._jobs or self._is_stopping) and self._scheduler.is_idle:
                    self._wake.wait()
                if self._is_stopping:
                    break
                jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
            try:
                for job in jobs:
                    job()
                self._deliver(self._scheduler.step())
            except Exception as error:
                # Memory that ran out, for example: who is being written gets the reason, and the next may try.
                self._scheduler = Scheduler(self.engine, max_batch=self.max_batch)
                self._fail(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        self._fail("the server is stopping")

    def _deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            answer = self._listeners.get(event.writing)
            if answer is not None:
                if event.finish:
                    del self._listeners[event.writing]
                answer.put(event)

    def _fail(self, reason: str) -> None:
        for answer in self._listeners.values():
            answer.put(VocabkitError(reason))
        self._listeners.clear()


class Answer:
    """The events of one text, for the event loop that asked."""

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        self.writing: Writing | None = None
        self.is_closed = False
        self._worker, self._loop = worker, loop
        self._events: asyncio.Queue[Event | VocabkitError] = asyncio.Queue()

    def put(self, event: Event | VocabkitError) -> None:
        """Hand an event over, from the model's thread."""
        # A loop that is closed has nobody who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def events(self) -> AsyncIterator[Event]:
        """Yield every event up to the last; raises VocabkitError when the model failed.

        Whoever stops early closes the iterator, which ends the text.
        """
        is_over = False
        try:
            while not is_over:
                event = await self._events.get()
                is_over = isinstance(event, VocabkitError) or event.finish is not None
                if isinstance(event, VocabkitError):
                    raise event
                yield event
        finally:
            self.close(cancels=not is_over)

    def close(self, *, cancels: bool = True) -> None:
        """Give the answer up, once."""
        if not self.is_closed:
            self.is_closed = True
            self._worker.closed()
            if cancels:
                self._worker.cancel(self)
