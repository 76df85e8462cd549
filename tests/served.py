"""A real server in a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Served:
    """A running `vocabkit serve`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.errors: list[str] = []
        threading.Thread(target=self._drain, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def _drain(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.errors.extend(lines)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def serving(model: Path, *arguments: object) -> Iterator[Served]:
    command = [sys.executable, "-m", "vocabkit", "serve", model, "--port", 0, "--device", "cpu", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    environment.pop("TRITON_INTERPRET", None)
    process = subprocess.Popen(
        [str(one) for one in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    if not found:
        process.kill()
        assert process.stderr is not None
        raise AssertionError(line + process.stderr.read())
    served = Served(process, found[0])
    try:
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()
