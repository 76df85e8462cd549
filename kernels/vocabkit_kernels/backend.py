"""Which route an operator takes: Triton kernels, or plain PyTorch."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch

VARIABLE = "VOCABKIT_KERNELS"
CHOICES = ("auto", "triton", "torch")


@cache
def _triton_runs() -> tuple[bool, bool]:
    """Return whether Triton is installed, and whether it interprets its kernels on the CPU."""
    try:
        from triton import knobs
    except ImportError:
        return False, False
    return True, bool(knobs.runtime.interpret)


def use_triton(*tensors: torch.Tensor) -> bool:
    """Return whether to run kernels on `tensors`: where they are on a GPU, or Triton interprets (TRITON_INTERPRET=1).

    Raises ValueError for an unknown choice, RuntimeError when kernels are demanded and cannot run.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in CHOICES:
        raise ValueError(f"{VARIABLE}={choice}: choose one of {', '.join(CHOICES)}")
    if choice == "torch":
        return False
    installed, interpreted = _triton_runs()
    # Kernels compute in float32.
    exact = any(tensor.dtype == torch.float64 for tensor in tensors)
    able = installed and not exact and (interpreted or all(tensor.is_cuda for tensor in tensors))
    if choice == "triton" and not able:
        needs = "computes in float32" if exact else "needs tensors on a GPU, or TRITON_INTERPRET=1"
        what = needs if installed else "is not installed"
        raise RuntimeError(f"{VARIABLE}=triton, but Triton {what}; unset it, or use VOCABKIT_KERNELS=torch")
    return able


def on_device_of(tensor: torch.Tensor) -> AbstractContextManager[None]:
    """Return a context in which kernels are launched where `tensor` is."""
    guard: Any = torch.cuda.device_of
    context: AbstractContextManager[None] = guard(tensor)
    return context


def in_autocast(tensor: torch.Tensor) -> torch.Tensor:
    """Return `tensor` in the type that torch.autocast asks for, as it does for products; float64 stays."""
    kind = tensor.device.type
    if not torch.is_autocast_enabled(kind) or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(kind))


def without_autocast(tensor: torch.Tensor) -> torch.autocast:
    """Return a context in which products have the types of their operands."""
    return torch.autocast(tensor.device.type, enabled=False)
