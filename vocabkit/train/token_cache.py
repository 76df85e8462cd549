"""Text as ids on disk, made once: by a process of its own, which runs ahead of whoever reads.

A cache is a folder named by a hash of everything that decides its ids, so that another tokenizer, another block size
or a changed file is another folder.  Shards appear whole, in order; `done.json` says that there are no more.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.files import lock
from vocabkit.train.packing import Sequences
from vocabkit.train.recipe import Recipe, key_of
from vocabkit.train.token_writer import DONE, FAILED, LOCK, fill, shard_name

POLL_SECONDS = 0.05


def open_cache(
    recipe: Recipe, folder: Path, *, key: str | None = None, workers: int | None = None, writes: bool = True
) -> TokenCache:
    """Return the cache of `recipe` below `folder`, begun by a process of its own if it is not there.

    key: its name, where another process has read the corpus to know it.  writes: False for those that only read.
    Raises VocabkitError when the corpus cannot be found.
    """
    cache = TokenCache(folder / (key or key_of(recipe)))
    if writes and not cache.is_done:
        cache.start(recipe, workers or os.cpu_count() or 1)
    return cache


class TokenCache:
    """Shards of sequences in a folder, which may still be growing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: Any = None
        self._start: Callable[[], None] | None = None
        self._loaded: tuple[int, Sequences] | None = None

    @property
    def is_done(self) -> bool:
        """Whether every shard is there."""
        return (self.path / DONE).is_file()

    def start(self, recipe: Recipe, workers: int) -> None:
        """Begin to fill the cache in a process of its own, unless one does so already."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / FAILED).unlink(missing_ok=True)
        except OSError as error:
            raise VocabkitError(f"cannot write to {self.path}: {error.strerror}; choose another --cache") from error
        self._start = partial(self.start, recipe, workers)
        if _is_locked(self.path / LOCK):
            return
        context = multiprocessing.get_context("spawn")
        self._writer = context.Process(target=fill, args=(recipe, self.path, workers), daemon=True)
        self._writer.start()

    def facts(self) -> dict[str, Any]:
        """Return what was found in the text, waiting until all is read: sequences, bytes, tokens, problems."""
        self._wait(lambda: self.is_done)
        found: dict[str, Any] = json.loads((self.path / DONE).read_text(encoding="utf-8"))
        return found

    def shard(self, number: int) -> Sequences | None:
        """Return shard `number`, waiting until it is there; None when there are no so many."""
        if self._loaded is None or self._loaded[0] != number:
            path = self.path / shard_name(number)
            self._wait(lambda: path.is_file() or self.is_done)
            if not path.is_file():
                return None
            self._loaded = (number, Sequences.load(path))
        return self._loaded[1]

    def close(self) -> None:
        """Stop the process that fills the cache, if there is one; the next run goes on without it."""
        if self._writer is not None and self._writer.is_alive():
            self._writer.kill()
            self._writer.join()
        self._writer = None

    def _wait(self, there: Callable[[], bool]) -> None:
        while not there():
            failed = self.path / FAILED
            if failed.is_file():
                raise VocabkitError(json.loads(failed.read_text(encoding="utf-8"))["error"])
            if self._writer is not None and not self._writer.is_alive() and not there() and not failed.is_file():
                raise VocabkitError(
                    f"the process that tokenises ended with code {self._writer.exitcode}; "
                    f"memory may have run out, try fewer --workers"
                )
            if self._writer is None and self._start and not _is_locked(self.path / LOCK) and not there():
                # Whoever was filling it has gone.
                self._start()
            time.sleep(POLL_SECONDS)


def _is_locked(path: Path) -> bool:
    """Whether a living process fills the cache."""
    if not path.is_file():
        return False
    held = lock(path)
    if held is not None:
        held.close()
    return held is None


def default_folder() -> Path:
    """Return where caches lie unless --cache says otherwise."""
    base = os.environ.get("VOCABKIT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(base) / ("tokens" if os.environ.get("VOCABKIT_CACHE") else "vocabkit/tokens")


def problems_of(facts: Sequence[dict[str, Any]]) -> list[str]:
    """Return what could not be read, a line each."""
    return [line for one in facts for line in one["problems"]]
