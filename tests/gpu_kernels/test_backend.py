"""Which route is taken, and what is said when none can be."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from vocabkit_kernels.backend import _triton_runs, use_triton  # noqa: E402


@pytest.mark.parametrize("choice", ["cuda", "Triton", ""])
def test_an_unknown_choice_names_those_there_are(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCABKIT_KERNELS", choice)
    with pytest.raises(ValueError, match="auto, triton, torch"):
        use_triton(torch.zeros(1))


def test_kernels_that_are_demanded_and_cannot_run_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCABKIT_KERNELS", "triton")
    for installed, interpreted, tensor, message in (
        (False, False, torch.zeros(1), "not installed"),
        (True, False, torch.zeros(1), "TRITON_INTERPRET=1"),
        (True, True, torch.zeros(1, dtype=torch.float64), "computes in float32"),
    ):
        monkeypatch.setattr("vocabkit_kernels.backend._triton_runs", lambda i=installed, j=interpreted: (i, j))
        with pytest.raises(RuntimeError, match=message):
            use_triton(tensor)
        monkeypatch.setenv("VOCABKIT_KERNELS", "auto")
        assert not use_triton(tensor)
        monkeypatch.setenv("VOCABKIT_KERNELS", "triton")


def test_plain_pytorch_needs_no_triton() -> None:
    code = """
import sys
sys.modules["triton"] = None
import torch
from vocabkit_kernels import linear_cross_entropy, nf4_dequantize, nf4_linear, nf4_quantize, split_embedding
weight = nf4_quantize(torch.randn(8, 64))
assert nf4_linear(torch.randn(2, 64), weight).shape == (2, 8)
assert nf4_dequantize(weight).shape == (8, 64)
rows = torch.randn(3, 64, requires_grad=True)
ids = torch.tensor([1, 9])
linear_cross_entropy(split_embedding(ids, torch.randn(8, 64), rows), torch.randn(8, 64), rows, ids).backward()
assert rows.grad is not None
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr


def test_the_interpreter_is_found() -> None:
    if not torch.cuda.is_available():
        pytest.importorskip("triton")
        assert _triton_runs() == (True, True)
