"""The benchmark of the kernels runs, so that it is there when a GPU is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support import ROOT

torch = pytest.importorskip("torch")

from vocabkit_kernels.routes import TUNED  # noqa: E402


@pytest.mark.skipif(torch.cuda.is_available(), reason="would take minutes, and the GPU from the other tests")
def test_without_a_gpu_it_checks_every_kernel() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "kernels.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["gpu"] is None
    assert len(found["checked"]) == 9
    assert all(value < 1e-5 for value in found["checked"].values())
    assert "none timed" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="would write a table")
def test_without_a_gpu_every_route_is_checked() -> None:
    pytest.importorskip("triton")
    before = sorted(TUNED.glob("*"))
    command = [sys.executable, str(ROOT / "benchmarks" / "tune.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["routes"] > 20
    assert found["worst"] < 1e-5
    assert sorted(TUNED.glob("*")) == before
