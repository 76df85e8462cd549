"""Two processes on a CPU, by torchrun and gloo: the same losses as one, and states that either can go on with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from runs import metrics, newest, vocabkit  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

Extended = Callable[..., Path]
# Without dropout: every process draws its own.
ARGUMENTS = (
    "--stage", "pretrain", "--steps", 5, "--block-size", 32, "--batch-size", 5, "--micro-batch", 2, "--dropout", 0,
    "--rows-learning-rate", 0.001, "--save-every", 3,
)  # fmt: skip


@pytest.fixture(scope="module")
def alone(extended: Extended, chinese_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    vocabkit(*command(extended(False), chinese_file, folder))
    return folder / "run"


def command(model: Path, data: Path, folder: Path, *more: object) -> list[object]:
    return [
        "train", model, "--data", data, "--cache", folder / "cache", "-o", folder / "run", *ARGUMENTS,
        "--eval-target", data, "--eval-lines", 7, "--eval-every", 5, *more,
    ]  # fmt: skip


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    return launched("torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port(), "-m", *arguments)


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def launched(launcher: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Start `python -m LAUNCHER its options -m, the rest for vocabkit`."""
    at = arguments.index("-m") + 1
    launched = [sys.executable, "-m", launcher, *map(str, (*arguments[:at], "vocabkit", *arguments[at:]))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(launched, capture_output=True, text=True, timeout=280, env=environment)


def assert_near(run: Path, alone: Path) -> None:
    for one, other in zip(metrics(run), metrics(alone), strict=True):
        assert one.keys() == other.keys()
        for name in ("step", "tokens", "bytes", "sources", "new_tokens", "learning_rate"):
            assert one.get(name) == other.get(name), name
        for name in ("loss", "bits_per_byte", "gradient_norm"):
            # The line of step 0 has only what was evaluated.
            assert one.get(name, 0.0) == pytest.approx(other.get(name, 0.0), rel=2e-4), name
        assert one.get("evaluated", {}) == pytest.approx(other.get("evaluated", {}), rel=1e-4)
    mine, theirs = (load_file(newest(folder) / "trained.safetensors") for folder in (run, alone))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.allclose(value, theirs[name], atol=2e-4), name


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_are_one_and_go_on_from_each_other(
    strategy: str, extended: Extended, chinese_file: Path, alone: Path, tmp_path: Path
) -> None:
    model = extended(False)
    done = torchrun(*command(model, chinese_file, tmp_path, "--strategy", strategy, "--stop-after", 3))
    assert done.returncode == 0, done.stderr[-3000:]
    assert newest(tmp_path / "run").name == "00000003"
    # From two processes to one.
    vocabkit(*command(model, chinese_file, tmp_path, "--resume"))
    assert_near(tmp_path / "run", alone)
    # And from one to two.
    other = tmp_path / "other"
    other.mkdir()
    vocabkit(*command(model, chinese_file, other, "--stop-after", 2))
    done = torchrun(*command(model, chinese_file, other, "--strategy", strategy, "--resume"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert_near(other / "run", alone)


def test_an_error_is_one_line_in_every_process(extended: Extended, chinese_file: Path, tmp_path: Path) -> None:
    arguments: list[Any] = command(extended().parent / "base", chinese_file, tmp_path)
    done = torchrun(*arguments)
    assert done.returncode != 0
    assert "has no new rows" in done.stderr


def test_accelerate_launches_it_too(extended: Extended, chinese_file: Path, alone: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    done = launched(
        "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision",
        "no", "--dynamo_backend", "no", "--main_process_port", free_port(), "-m",
        *command(extended(False), chinese_file, tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert_near(tmp_path / "run", alone)
