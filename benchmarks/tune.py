"""Measure the routes of `nf4_linear` and `lora_linears` on the GPU that is here; write the table that ships for it.

    python benchmarks/tune.py [--seconds 400] [--quick]

For every shape each route is checked against the plain products, then timed over weights larger than the L2 cache,
with CUDA graphs where there are no gradients.  The table goes to kernels/vocabkit_kernels/tuned/<gpu>.json.
Without a GPU: every route is checked on a tiny shape in Triton's interpreter, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import product
from typing import Any
from unittest.mock import patch

import torch

if not torch.cuda.is_available():
    # Read when kernels are imported.
    os.environ["TRITON_INTERPRET"] = "1"

import triton
from vocabkit_kernels import LoRAWeight, lora_linears, nf4_dequantize, nf4_quantize, reference
from vocabkit_kernels.jit.nf4_linear import launch
from vocabkit_kernels.nf4 import NF4Weight
from vocabkit_kernels.routes import AdapterRoute, Measured, Route, Table, write_table

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


ADAPTER_ROUTES = [AdapterRoute(*both) for both in product((False, True), repeat=2)]
# What shares an input in a model of 8 billion: q, k and v; gate and up; o or down alone.
SHARED = (((4096, 1024, 1024), 4096), ((14336, 14336), 4096), ((4096,), 4096), ((4096,), 14336))


def step(x: torch.Tensor, layers: list[LoRAWeight], gradients: list[torch.Tensor], way: AdapterRoute) -> list[Any]:
    """Return the outputs of layers with adapters and all gradients, computed in one way."""
    with patch("vocabkit_kernels.lora.adapter_route_for", lambda *shape: way):
        made = lora_linears(x, layers)
        return [*made, *torch.autograd.grad(made, [x, *(p for w in layers for p in (w.a, w.b))], gradients)]


def layers_of(heights: tuple[int, ...], width: int, rank: int, nf4: bool, seed: int) -> list[LoRAWeight]:
    found = []
    for height in heights:
        dense = draw(height, width, scale=width**-0.5, seed=seed)
        a = draw(rank, width, scale=width**-0.5, seed=seed + 1).requires_grad_()
        b = draw(height, rank, seed=seed + 2).requires_grad_()
        found.append(LoRAWeight(nf4_quantize(dense) if nf4 else dense, a, b, 0.5))
    return found


def adapters(quick: bool, until: float) -> Iterator[Measured]:
    """Yield the best way for layers that share an input, forward and backward."""
    shapes = product(
        SHARED[:2] if quick else SHARED, (16,) if quick else (8, 64), (4096,) if quick else (2048, 16384)
    )
    for (heights, width), rank, places in shapes:
        if time.perf_counter() > until:
            return
        sets = [layers_of(heights, width, rank, True, seed) for seed in range(2)]
        x = draw(places, width, seed=9).requires_grad_()
        gradients = [draw(places, height, seed=7) for height in heights]
        plain, timed = step(x, sets[0], gradients, AdapterRoute()), []
        for way in ADAPTER_ROUTES:
            for one, other in zip(step(x, sets[0], gradients, way), plain, strict=True):
                assert error(one, other.double()) < 8e-3, way
            functions = [lambda s=s, w=way, x=x, g=gradients: step(x, s, g, w) for s in sets]
            timed.append((milliseconds(functions, False)[0], way))
        shape = {"places": places, "rows": sum(heights), "columns": width, "rank": rank * len(heights)}
        print(json.dumps(shape | {"ms": [[round(ms, 5), vars(way)] for ms, way in timed]}), flush=True)
        yield Measured(**shape, route=min(timed, key=lambda pair: pair[0])[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=400, help="stop after so many, with what is measured")
    parser.add_argument("--quick", action="store_true", help="two layers, three numbers of places")
    options = parser.parse_args()
    if not GPU:
        weight, x = nf4_quantize(draw(130, 256)), draw(20, 256, seed=1)
        exact = x.double() @ reference.nf4_dequantize(weight, torch.float64).t()
        worst = max(error(run(x, weight, route), exact) for route in candidates(20))
        layers, x = layers_of((130, 66), 64, 8, True, 0), draw(70, 64).requires_grad_()
        gradients = [draw(70, height, seed=7) for height in (130, 66)]
        plain = step(x, layers, gradients, AdapterRoute())
        for way in ADAPTER_ROUTES:
            found = step(x, layers, gradients, way)
            worst = max(worst, *(error(one, two.double()) for one, two in zip(found, plain, strict=True)))
        assert worst < 1e-5, worst
        checked = len(candidates(20)) + len(ADAPTER_ROUTES)
        print(json.dumps({"gpu": None, "routes": checked, "worst": worst}))
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
            # A quarter of the time is for adapters.
            if time.perf_counter() - begun > options.seconds * 0.75:
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
        del weights
        torch.cuda.empty_cache()
    beside = tuple(adapters(options.quick, begun + options.seconds))
    about = {"torch": torch.__version__, "triton": triton.__version__, "dtype": str(DTYPE), "device": DEVICE}
    print(write_table(torch.cuda.get_device_name(), about, Table(tuple(table), beside)), file=sys.stderr)


if __name__ == "__main__":
    main()
