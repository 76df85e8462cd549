"""Run commands in turn, measure each as a process, and keep the result with the machine and the versions."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("vocabkit", "numpy", "tokenizers", "sentencepiece", "transformers", "bpe-continue", "py3langid")


@dataclass(frozen=True)
class Run:
    """One finished process: seconds on the wall, seconds of processor time, peak memory in MB."""

    seconds: float
    processor_seconds: float
    megabytes: float


def run(code: str, *arguments: str) -> Run:
    """Run Python code in a process of its own; raises CalledProcessError when it fails."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), code)
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def alternate(jobs: Mapping[str, Callable[[], Run]], runs: int) -> dict[str, dict[str, Any]]:
    """Run the jobs in turn, `runs` times, and return medians and every single figure."""
    done: dict[str, list[Run]] = {name: [] for name in jobs}
    for number in range(runs):
        for name, job in jobs.items():
            done[name].append(job())
            print(f"run {number + 1}, {name}: {done[name][-1]}", file=sys.stderr, flush=True)
    return {
        name: {
            "seconds": round(median(r.seconds for r in rows), 2),
            "processor_seconds": round(median(r.processor_seconds for r in rows), 2),
            "megabytes": round(median(r.megabytes for r in rows), 1),
            "all_seconds": [round(r.seconds, 2) for r in rows],
            "all_megabytes": [round(r.megabytes, 1) for r in rows],
        }
        for name, rows in done.items()
    }


def save(name: str, result: Mapping[str, Any]) -> None:
    """Write a result to benchmarks/results/ and print it."""
    RESULTS.mkdir(exist_ok=True)
    machine = f"{os.cpu_count()}-core-{platform.machine()}"
    document = {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine,
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "commit": _commit(),
        **result,
    }
    path = RESULTS / f"{document['date']}-{name}-{machine}.json"
    text = json.dumps(document, ensure_ascii=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
    print(text)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
