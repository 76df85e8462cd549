"""How near a result must be to the reference in float64."""

from __future__ import annotations

import torch
from torch import Tensor

# |out - reference| / |reference|.  The interpreter truncates where a GPU rounds to even.
INTERPRETED = not torch.cuda.is_available()
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 1e-3,
    torch.bfloat16: 8e-3 if INTERPRETED else 4e-3,
}


def error(out: Tensor, reference: Tensor) -> float:
    """Return |out - reference| / |reference|, 0 for two that are 0; a NaN anywhere counts as infinite."""
    out, reference = out.detach(), reference.detach().double()
    if out.isnan().any() or out.shape != reference.shape:
        return float("inf")
    size = reference.norm()
    away = (out.double() - reference).norm()
    return float(away / size) if size else float(away)


def assert_close(out: Tensor, reference: Tensor, *, times: float = 1.0) -> None:
    """Assert that `out` is as near as its type allows; `times` for results that are rounded more than once."""
    assert error(out, reference) <= TOLERANCE[out.dtype] * times
