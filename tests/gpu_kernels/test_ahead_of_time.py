"""The machine code of every kernel, compiled for GPUs that are not here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

SCRIPT = Path(__file__).with_name("compile_ahead.py")
# Bytes of shared memory that a program can have.
SHARED = {80: 163 * 1024, 90: 227 * 1024}


@pytest.fixture(scope="module", params=sorted(SHARED))
def built(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Every kernel for one architecture."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(SCRIPT), str(request.param)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_nothing_spills_and_everything_fits(built: list[dict[str, Any]]) -> None:
    assert len(built) == 52
    for kernel in built:
        assert kernel["stack"] == kernel["local"] == 0, kernel
        assert kernel["shared"] <= SHARED[kernel["architecture"]], kernel
        assert not {"LDL", "STL"} & {name.split(".")[0] for name in kernel["operations"]}, kernel


def test_memory_is_read_and_written_16_bytes_at_a_time(built: list[dict[str, Any]]) -> None:
    for kernel in built:
        wide = [name for name in kernel["operations"] if name.startswith(("LDG", "STG")) and ".128" in name]
        assert {name[:3] for name in wide} == {"LDG", "STG"}, kernel


def test_dequantising_rounds_every_product_on_its_own(built: list[dict[str, Any]]) -> None:
    kernels = [kernel for kernel in built if kernel["kernel"].startswith("dequantize")]
    assert len(kernels) == 8
    for kernel in kernels:
        assert not any(name.startswith("FFMA") for name in kernel["operations"]), kernel
        # 32 values for each thread: no more instructions than the memory leaves time for.
        assert sum(kernel["operations"].values()) <= 19 * 32, kernel["operations"]


def test_tensor_cores_multiply(built: list[dict[str, Any]]) -> None:
    kernels = [kernel for kernel in built if kernel["kernel"].startswith(("nf4-linear", "lora-slopes"))]
    assert len(kernels) == 28
    for kernel in kernels:
        # wgmma on Hopper, mma on Ampere.
        name = "HGMMA" if kernel["architecture"] == 90 else "HMMA"
        assert any(operation.startswith(name) for operation in kernel["operations"]), kernel
