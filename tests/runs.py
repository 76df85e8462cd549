"""Run the command line, and look at what a training run left."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from vocabkit.cli import main


def vocabkit(*arguments: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process, which saves the seconds of importing torch."""
    command = ["vocabkit", *map(str, arguments)]
    out, err = StringIO(), StringIO()
    with patch("sys.argv", command), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main()
    done = subprocess.CompletedProcess(command, int(ended.value.code or 0), out.getvalue(), err.getvalue())
    assert code is None or done.returncode == code, done.stderr + done.stdout
    return done


def vocabkit_json(*arguments: object, code: int = 0) -> Any:
    return json.loads(vocabkit(*arguments, "--json", code=code).stdout)


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return what a run logged, without what the clock decides."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    timed = ("seconds", "memory_bytes")
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").iterdir())[-1]


def files_of(folder: Path, names: Sequence[str]) -> list[bytes]:
    return [(folder / name).read_bytes() for name in names]
