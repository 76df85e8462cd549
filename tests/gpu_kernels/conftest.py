"""Kernels run on a GPU where there is one, else in Triton's interpreter: the same tests."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")

if not torch.cuda.is_available():
    # Read when a kernel is defined, so before the first import of any.
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(params=["torch", "triton"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test by plain PyTorch and by Triton."""
    if request.param == "triton":
        pytest.importorskip("triton")
    monkeypatch.setenv("VOCABKIT_KERNELS", request.param)
    return str(request.param)
