"""Measure the routes of `nf4_linear` on the GPU that is here, and write the table that ships for it.

    python benchmarks/tune.py [--seconds 400] [--quick]

For every shape each route is checked against the dequantised product, then timed with CUDA graphs over weights larger
than the L2 cache.  The table goes to kernels/vocabkit_kernels/tuned/<gpu>.json.  Without a GPU: every route is
checked on a tiny shape, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import product

import torch
import triton
from vocabkit_kernels import nf4_dequantize, nf4_quantize, reference
from vocabkit_kernels.jit.nf4_linear import launch
from vocabkit_kernels.nf4 import NF4Weight
from vocabkit_kernels.routes import Measured, Route, write_table

from kernels import DEVICE, DTYPE, GPU, draw, error, milliseconds, rotated

# Layers of models of 7 to 70 billion parameters.
LAYERS = ((4096, 4096), (1024, 4096), (14336, 4096), (4096, 14336), (28672, 8192), (8192, 8192))
PLACES = (1, 4, 16, 32, 64, 128, 256, 512, 1024)


def candidates(places: int) -> list[Route]:
    """Return the routes that make sense for so many places."""
    together = [size for size in (16, 32, 64, 128) if size <= max(16, 2 * places)][-2:]
    parts = (1, 2, 4, 8) if places <= 64 else (1, 2)
    found = [
        Route(True, rows, size, 64, part, warps, stages)
        for rows, size, part, warps, stages in product((64, 128), together, parts, (4, 8), (3, 4))
        # A program of 128 x 128 has no registers left with four warps.
        if not (rows * size >= 128 * 128 and warps == 4)
    ]
    return [*found, Route(fused=False)]


def run(x: torch.Tensor, weight: NF4Weight, route: Route) -> torch.Tensor:
    """Compute the product by one route."""
    if not route.fused:
        return torch.nn.functional.linear(x, nf4_dequantize(weight, x.dtype))
    out = torch.empty(len(x), weight.shape[0], dtype=x.dtype, device=x.device)
    launch(out, x, weight, None, None, None, route)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=400, help="stop after so many, with what is measured")
    parser.add_argument("--quick", action="store_true", help="two layers, three numbers of places")
    options = parser.parse_args()
    if not GPU:
        weight, x = nf4_quantize(draw(130, 256)), draw(20, 256, seed=1)
        exact = x.double() @ reference.nf4_dequantize(weight, torch.float64).t()
        worst = max(error(run(x, weight, route), exact) for route in candidates(20))
        assert worst < 1e-5, worst
        print(json.dumps({"gpu": None, "routes": len(candidates(20)), "worst": worst}))
        print("No GPU: every route was checked, and none timed.", file=sys.stderr)
        return
    begun, table = time.perf_counter(), []
    layers = LAYERS[:2] if options.quick else LAYERS
    for rows, columns in layers:
        weights = rotated(
            rows * columns / 2, lambda seed, r=rows, c=columns: nf4_quantize(draw(r, c, scale=c**-0.5, seed=seed))
        )
        exact_weight = reference.nf4_dequantize(weights[0], torch.float64)
        for places in PLACES[::4] if options.quick else PLACES:
            if time.perf_counter() - begun > options.seconds:
                break
            x = draw(places, columns, seed=9)
            exact, timed = x.double() @ exact_weight.t(), []
            for route in candidates(places):
                try:
                    assert error(run(x, weights[0], route), exact) < 8e-3, route
                    functions = [lambda w=w, x=x, route=route: run(x, w, route) for w in weights]
                    timed.append((milliseconds(functions, True)[0], route))
                except triton.runtime.errors.OutOfResources as problem:
                    print(f"{route}: {problem}", file=sys.stderr)
            timed.sort(key=lambda pair: pair[0])
            table.append(Measured(places, rows, columns, timed[0][1]))
            dense = next(ms for ms, route in timed if not route.fused)
            line = {"places": places, "rows": rows, "columns": columns, "ms": round(timed[0][0], 5)}
            print(json.dumps(line | {"dequantised_ms": round(dense, 5), "route": vars(timed[0][1])}), flush=True)
    about = {"torch": torch.__version__, "triton": triton.__version__, "dtype": str(DTYPE), "device": DEVICE}
    print(write_table(torch.cuda.get_device_name(), about, table), file=sys.stderr)


if __name__ == "__main__":
    main()
