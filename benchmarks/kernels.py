"""Every kernel beside its peers on a GPU: checked against the reference first, then timed.

    python benchmarks/kernels.py [--quick]

On a GPU: bfloat16, medians of CUDA-graph replays over weights that together are larger than the L2 cache, ratios
peer / ours (above 1 we win), with the machine's copying and product speed measured in the same run.  A peer that is
not installed says so.  Without a GPU: the checks alone, on tiny shapes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
from harness import save
from vocabkit_kernels import (
    LoRAWeight,
    RowAdamW,
    linear_cross_entropy,
    lora_linear,
    lora_linears,
    nf4_dequantize,
    nf4_linear,
    nf4_quantize,
    reference,
    split_embedding,
)

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
DTYPE = torch.bfloat16 if GPU else torch.float32
# Weights that are used in turn take more than this together: no cache holds them.
ROTATED_BYTES = 256 << 20
REPLAYS = 20
ROUNDS = 5

Function = Callable[[], Any]


@dataclass
class Comparison:
    """One line of the table: ours and its peers, each a list of the same job over different weights."""

    what: str
    shape: str
    ours: Sequence[Function]
    peers: dict[str, Sequence[Function]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    bytes: float = 0.0
    graph: bool = True


def draw(*shape: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator(DEVICE).manual_seed(seed)
    return (torch.randn(*shape, generator=generator, device=DEVICE) * scale).to(DTYPE)


def check() -> dict[str, float]:
    """Return |ours - reference| / |reference| of every kernel; raises AssertionError where it is too great."""
    size = 1024 if GPU else 128
    weight = nf4_quantize(draw(size, size, scale=size**-0.5))
    assert torch.equal(nf4_dequantize(weight, torch.float16), reference.nf4_dequantize(weight, torch.float16))
    exact = reference.nf4_dequantize(weight, torch.float64)
    found = {}
    a, b = draw(16, size, scale=size**-0.5, seed=1), draw(size, 16, seed=2)
    for places in (1, 16, 100):
        x = draw(places, size, seed=3)
        expected = reference.lora_linear(x.double(), exact, a, b, 0.5)
        found[f"nf4_linear M={places}"] = error(nf4_linear(x, weight, lora=(a, b, 0.5)), expected)
        found[f"lora_linear M={places}"] = error(lora_linear(x, weight, a, b, 0.5), expected)
    old, new, labels = (
        draw(size, 64, scale=0.1),
        draw(40, 64, scale=0.1, seed=1),
        torch.arange(0, size, 3, device=DEVICE),
    )
    rows = new.clone().requires_grad_()
    hidden = split_embedding(labels, old, rows)
    loss = linear_cross_entropy(hidden, old, rows, labels)
    loss.backward()
    doubles = new.double().requires_grad_()
    hidden = reference.split_embedding(labels, old.double(), doubles)
    expected = reference.linear_cross_entropy(hidden, old.double(), doubles, labels)
    expected.backward()
    found["linear_cross_entropy"] = error(loss, expected)
    assert rows.grad is not None
    assert doubles.grad is not None
    found["gradient of new rows"] = error(rows.grad, doubles.grad)
    slopes = draw(40, 64, seed=5)
    ours, theirs = torch.nn.Parameter(new.clone()), torch.nn.Parameter(new.double())
    for parameter, optimizer in ((ours, RowAdamW([ours])), (theirs, torch.optim.AdamW([theirs]))):
        parameter.grad = slopes.to(parameter.dtype)
        optimizer.step()
    found["row optimizer"] = error(ours, theirs)
    for name, value in found.items():
        assert value <= (8e-3 if GPU else 1e-5), f"{name}: {value}"
    return found


def error(out: torch.Tensor, exact: torch.Tensor) -> float:
    return float((out.detach().double() - exact.detach()).norm() / exact.detach().norm())


def has(name: str, comparison: Comparison) -> bool:
    """Return whether a peer is installed; say in the row if not."""
    if find_spec(name) is None:
        comparison.missing.append(name)
        return False
    return True


def rotated(bytes_: float, make: Callable[[int], Any]) -> list[Any]:
    """Return as many as exceed the cache."""
    return [make(seed) for seed in range(max(2, min(32, round(ROTATED_BYTES / bytes_))))]


def dequantisation(quick: bool) -> Iterator[Comparison]:
    for rows, columns in ((4096, 4096),) if quick else ((4096, 4096), (14336, 4096), (28672, 8192)):
        weights = rotated(rows * columns / 2, lambda seed, r=rows, c=columns: nf4_quantize(draw(r, c, seed=seed)))
        # What is written must not stay in the cache either.
        outs = [torch.empty(rows, columns, dtype=DTYPE, device=DEVICE) for _ in weights]
        row = Comparison(
            "nested NF4 dequantisation", f"{rows}x{columns}",
            [lambda w=w, out=out: nf4_dequantize(w, out=out) for w, out in zip(weights, outs, strict=True)],
            bytes=rows * columns * 2.516,
        )  # fmt: skip
        if has("bitsandbytes", row):
            from bitsandbytes.functional import dequantize_4bit

            pairs = [w.to_bnb() for w in weights]
            row.peers["bitsandbytes"] = [
                lambda p=p, out=out: dequantize_4bit(*p, out=out) for p, out in zip(pairs, outs, strict=True)
            ]
        yield row


def linears(quick: bool) -> Iterator[Comparison]:
    for rows, columns in ((14336, 4096),) if quick else ((4096, 4096), (14336, 4096), (28672, 8192)):
        weights = rotated(rows * columns / 2, lambda seed, r=rows, c=columns: nf4_quantize(draw(r, c, seed=seed)))
        dense = [nf4_dequantize(w) for w in weights[: max(2, len(weights) // 4)]]
        for places in (1, 64) if quick else (1, 4, 16, 64, 128, 256, 512):
            x = draw(places, columns)
            shape = f"M={places}, {rows}x{columns}"
            row = Comparison("NF4 linear", shape, [lambda w=w, x=x: nf4_linear(x, w) for w in weights])
            row.peers["cuBLAS bf16"] = [lambda w=w, x=x: torch.nn.functional.linear(x, w) for w in dense]
            row.peers["ours, dequantised first"] = [
                lambda w=w, x=x: torch.nn.functional.linear(x, nf4_dequantize(w)) for w in weights
            ]
            if has("bitsandbytes", row):
                import bitsandbytes

                pairs = [w.to_bnb() for w in weights]
                row.peers["bitsandbytes"] = [
                    lambda p=p, x=x: bitsandbytes.matmul_4bit(x, p[0].t(), quant_state=p[1]) for p in pairs
                ]
            yield row
        a, b = draw(16, columns), draw(rows, 16)
        x = draw(1, columns)
        row = Comparison(
            "NF4 + LoRA", f"M=1, {rows}x{columns}, r=16",
            [lambda w=w, x=x, a=a, b=b: nf4_linear(x, w, lora=(a, b, 0.5)) for w in weights],
        )  # fmt: skip
        if has("bitsandbytes", row):
            import bitsandbytes

            row.peers["bitsandbytes + PEFT's formula"] = [
                lambda p=p, x=x, a=a, b=b: (
                    bitsandbytes.matmul_4bit(x, p[0].t(), quant_state=p[1]) + ((x @ a.t()) @ b.t()) * 0.5
                )
                for p in pairs
            ]
        yield row


def peft(x: Any, w: Any, a: Any, b: Any) -> Any:
    """What PEFT's layer computes."""
    return torch.nn.functional.linear(x, w) + ((x @ a.t()) @ b.t()) * 1.0


def adapters(quick: bool) -> Iterator[Comparison]:
    for places in (4096,) if quick else (4096, 16384):
        weights = rotated(4096 * 4096 * 2, lambda seed: draw(4096, 4096, scale=1 / 64, seed=seed))
        x = draw(places, 4096).requires_grad_()
        a, b = draw(16, 4096).requires_grad_(), draw(4096, 16).requires_grad_()
        gradient = draw(places, 4096, seed=7)

        def job(function: Callable[..., Any], w: Any, leaves: Any = (x, a, b), g: Any = gradient) -> Function:
            x, a, b = leaves
            return lambda: torch.autograd.grad(function(x, w, a, b), [x, a, b], g)

        row = Comparison(
            "LoRA linear, forward and backward", f"M={places}, 4096x4096, r=16",
            [job(lora_linear, w) for w in weights],
            {"PEFT's formula, bf16": [job(peft, w) for w in weights]},
            graph=False,
        )  # fmt: skip
        compiled = torch.compile(peft, dynamic=False)
        row.peers["PEFT's formula, compiled"] = [job(compiled, w) for w in weights]
        if has("unsloth", row):
            from unsloth.kernels.fast_lora import LoRA_W

            def unsloth(x: Any, w: Any, a: Any, b: Any) -> Any:
                return LoRA_W.apply(x, w, None, a, b, 1.0)

            row.peers["unsloth"] = [job(unsloth, w) for w in weights]
        yield row
        heights = (4096, 1024, 1024)
        sets = [
            [nf4_quantize(draw(height, 4096, scale=1 / 64, seed=seed + height)) for height in heights]
            for seed in range(8)
        ]
        pairs = [(draw(16, 4096).requires_grad_(), draw(height, 16).requires_grad_()) for height in heights]
        slopes = [draw(places, height, seed=7) for height in heights]
        leaves = [x, *[part for pair in pairs for part in pair]]

        def shared(weights: Any, at: Any = (x, pairs, slopes, leaves)) -> Any:
            x, pairs, slopes, leaves = at
            made = lora_linears(x, [LoRAWeight(w, *pair) for w, pair in zip(weights, pairs, strict=True)])
            return torch.autograd.grad(made, leaves, slopes)

        row = Comparison(
            "q, k, v in NF4 with LoRA, forward and backward", f"M={places}, 6144x4096, r=16",
            [lambda w=w: shared(w) for w in sets], graph=False,
        )  # fmt: skip
        if has("bitsandbytes", row):
            import bitsandbytes

            theirs = [[w.to_bnb() for w in weights] for weights in sets]

            def separate(weights: Any, at: Any = (x, pairs, slopes, leaves)) -> Any:
                x, pairs, slopes, leaves = at
                made = [
                    bitsandbytes.matmul_4bit(x, w.t(), quant_state=state) + (x @ a.t()) @ b.t()
                    for (w, state), (a, b) in zip(weights, pairs, strict=True)
                ]
                return torch.autograd.grad(made, leaves, slopes)

            row.peers["bitsandbytes + PEFT's formula"] = [lambda w=w: separate(w) for w in theirs]
        yield row


def vocabulary(quick: bool) -> Iterator[Comparison]:
    known, count, width, places = 128_256, 10_000, 4096, 2048 if quick else 8192
    old, new = draw(known, width, scale=0.02), draw(count, width, scale=0.02, seed=1).requires_grad_()
    hidden = draw(places, width, seed=2).requires_grad_()
    labels = torch.randint(0, known + count, (places,), device=DEVICE)

    def ours() -> Any:
        return torch.autograd.grad(linear_cross_entropy(hidden, old, new, labels), [hidden, new])

    row = Comparison("cross-entropy, frozen old rows", f"T={places}, 128k+10k, 4096", [ours], graph=False)
    whole = torch.cat([old, new.detach()]).requires_grad_()
    if has("liger_kernel", row):
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        liger = LigerFusedLinearCrossEntropyLoss()
        row.peers["Liger, all rows"] = [lambda: torch.autograd.grad(liger(whole, hidden, labels), [hidden, whole])]
    yield row
    whole.grad, new.grad = torch.ones_like(whole), torch.ones_like(new)
    mine, theirs = RowAdamW([new]), torch.optim.AdamW([whole], fused=True)
    yield Comparison(
        "optimizer step", "128k+10k, 4096", [mine.step], {"torch AdamW fused, all rows": [theirs.step]}, graph=False
    )
    mine.state.clear()
    theirs.state.clear()


def milliseconds(functions: Sequence[Function], graph: bool) -> tuple[float, float]:
    """Return the median time of one call, and the spread of the rounds."""
    for function in functions:
        function()
    torch.cuda.synchronize()

    def once() -> None:
        for function in functions:
            function()

    replay: Function = once
    if graph:
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            once()
        replay = recorded.replay
    found = []
    for _ in range(ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(REPLAYS):
            replay()
        end.record()
        torch.cuda.synchronize()
        found.append(begin.elapsed_time(end) / REPLAYS / len(functions))
    return median(found), (max(found) - min(found)) / median(found)


def ceilings() -> dict[str, float]:
    """Return what this GPU copies and multiplies."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    copying, _ = milliseconds([lambda: target.copy_(source)], True)
    square = draw(8192, 8192)
    product, _ = milliseconds([lambda: square @ square], True)
    return {"copy_tb_per_s": 2 * 2**30 / copying / 1e9, "gemm_tflop_per_s": 2 * 8192**3 / product / 1e9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one or two shapes of each")
    options = parser.parse_args()
    errors = check()
    if not GPU:
        print(json.dumps({"gpu": None, "checked": errors}, indent=2))
        print("No GPU: every kernel was checked, and none timed.", file=sys.stderr)
        return
    limits = ceilings()
    rows = []
    for group in (dequantisation, linears, adapters, vocabulary):
        for row in group(options.quick):
            ours, spread = milliseconds(row.ours, row.graph)
            line: dict[str, Any] = {"what": row.what, "shape": row.shape, "ms": round(ours, 5)}
            line |= {"spread": round(spread, 3), "missing": row.missing, "peers": {}}
            if row.bytes:
                line["of_copy"] = round(row.bytes / ours / 1e9 / limits["copy_tb_per_s"], 3)
            for name, functions in row.peers.items():
                theirs, their_spread = milliseconds(functions, row.graph)
                line["peers"][name] = {"ms": round(theirs, 5), "spread": round(their_spread, 3)}
                line["peers"][name]["times_ours"] = round(theirs / ours, 3)
            rows.append(line)
            print(json.dumps(line), file=sys.stderr, flush=True)
        torch.cuda.empty_cache()
    device = torch.cuda.get_device_name()
    save(
        f"kernels-{device.replace(' ', '-')}",
        {"gpu": device, "torch": torch.__version__, "ceilings": limits, "checked": errors, "rows": rows},
    )


if __name__ == "__main__":
    main()
