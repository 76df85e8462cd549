"""Compile every kernel for a GPU that need not be here; print what the machine code holds, a line of JSON each.

    python compile_ahead.py [ARCHITECTURE]...      80 and 90 by default

A process of its own: where TRITON_INTERPRET is set, kernels cannot be compiled.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from vocabkit_kernels.jit.cross_entropy import cross_entropy_kernel
from vocabkit_kernels.jit.dequantize import dequantize_kernel
from vocabkit_kernels.jit.embedding import add_up_kernel, gather_kernel
from vocabkit_kernels.jit.lora import PLACES, ROWS, slopes_kernel
from vocabkit_kernels.jit.nf4_linear import add_parts_kernel, nf4_linear_kernel
from vocabkit_kernels.jit.optimizer import adamw_kernel
from vocabkit_kernels.routes import Route

RULE = Route()
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


@dataclass(frozen=True)
class Case:
    """A kernel with the types and constants of a real launch.  aligned: numbers that 16 divides."""

    name: str
    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any]
    aligned: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def cases(dtype: str) -> Iterator[Case]:
    """Yield every kernel for rows of `dtype` ("bf16", "fp16")."""
    floats = f"*{dtype}"
    for nested, flat in product((False, True), repeat=2):
        yield Case(
            f"dequantize{'-nested' if nested else ''}{'-flat' if flat else ''}",
            dequantize_kernel,
            {
                "packed": "*u8", "absmax": "*u8" if nested else "*fp32", "code": "*fp32", "nested_code": "*fp32",
                "nested_absmax": "*fp32", "nested_offset": "*fp32", "out": floats, "blocks_in_row": "i32",
                "first_block": "i32", "blocks": "i32", "out_stride": "i32",
            },
            {"BLOCKSIZE": 64, "NESTED_BLOCKSIZE": 256, "NESTED": nested, "FLAT": flat, "BLOCKS": 64},
            ("blocks_in_row", "first_block", "blocks", "out_stride"),
            {"num_warps": 4, "enable_fp_fusion": False},
        )  # fmt: skip
    yield Case(
        "gather",
        gather_kernel,
        {
            "ids": "*i64", "old_rows": floats, "new_rows": floats, "out": floats, "width": "i32", "known": "i32",
            "size": "i32", "old_stride": "i32", "new_stride": "i32",
        },
        {"COLUMNS": 2048},
        ("width", "old_stride", "new_stride"),
        {"num_warps": 8},
    )  # fmt: skip
    yield Case(
        "add-up",
        add_up_kernel,
        {"gradient": floats, "order": "*i64", "bounds": "*i64", "made": floats, "width": "i32"},
        {"COLUMNS": 2048},
        ("width",),
        {"num_warps": 8},
    )
    for capped in (False, True):
        yield Case(
            f"cross-entropy{'-capped' if capped else ''}",
            cross_entropy_kernel,
            {
                "scores": floats, "labels": "*i64", "losses": "*fp32", "size": "i32", "stride": "i32",
                "softcap": "fp32", "z_loss": "fp32", "smoothing": "fp32",
            },
            {"CAPPED": capped, "SMOOTH": capped, "SLOPES": True, "COLUMNS": 8192},
            ("size", "stride"),
            {"num_warps": 16},
        )  # fmt: skip
    # One place is a constant of its own to Triton; parts of K leave adapter and bias to the kernel that adds them.
    for nested, places, in_parts in product((False, True), (1, 16, 64), (False, True)):
        together = max(16, places)
        one = {"places": 1} if places == 1 else {}
        after = {"LORA": not in_parts, "BIAS": not in_parts, "RANK": 128, "ROWS": RULE.rows, "PLACES": together}
        yield Case(
            f"nf4-linear-{places}{'-nested' * nested}{'-parts' * in_parts}",
            nf4_linear_kernel,
            {
                "x": floats, "packed": "*u8", "absmax": "*u8" if nested else "*fp32", "nested_code": "*fp32",
                "nested_absmax": "*fp32", "nested_offset": "*fp32", "table": "*i32", "low": floats, "b": floats,
                "bias": floats, "out": "*fp32" if in_parts else floats, "places": "i32", "rows": "i32",
                "columns": "i32", "rank": "i32", "x_stride": "i32", "steps_in_part": "i32",
            },
            {"BLOCKSIZE": 64, "NESTED": nested, "PAIRS": True, "PARTS": in_parts, "STEP": RULE.step, **after, **one},
            ("rows", "columns", "rank", "x_stride"),
            {"num_warps": RULE.warps, "num_stages": RULE.stages},
        )  # fmt: skip
    for places in (1, 16):
        yield Case(
            f"add-parts-{places}",
            add_parts_kernel,
            {
                "shares": "*fp32", "low": floats, "b": floats, "bias": floats, "out": floats, "places": "i32",
                "rows": "i32", "rank": "i32", "parts": "i32",
            },
            {
                "LORA": True, "BIAS": True, "RANK": 16, "ROWS": RULE.rows, "PLACES": 16,
                **({"places": 1} if places == 1 else {}),
            },
            ("rows", "rank"),
            {"num_warps": RULE.warps},
        )  # fmt: skip
    for rank in (16, 64):
        yield Case(
            f"lora-slopes-{rank}",
            slopes_kernel,
            {
                "gradient_MN": floats, "b_Nr": floats, "low_Mr": floats, "shares_low": "*fp32", "shares_b": "*fp32",
                "places": "i32", "rows": "i32", "rank": "i32", "low_stride": "i32", "places_in_part": "i32",
            },
            {"RANK": rank, "PLACES": PLACES, "ROWS": ROWS},
            ("places", "rows", "rank", "low_stride", "places_in_part"),
            {"num_warps": 4, "num_stages": 3},
        )  # fmt: skip
    for lazy in (False, True):
        numbers = ("lr", "rest1", "beta2", "rest2", "eps", "decay", "correction1", "correction2")
        yield Case(
            f"adamw{'-lazy' if lazy else ''}",
            adamw_kernel,
            {
                "rows": floats, "master": "*fp32", "gradient": floats, "first": "*fp32", "second": "*fp32",
                "corrections1": "*fp32", "corrections2": "*fp32", "hit": "*u1", "width": "i32",
                **dict.fromkeys(numbers, "fp32"),
            },
            {"LAZY": lazy, "HAS_MASTER": True, "COLUMNS": 1024},
            ("width",),
            {"num_warps": 4},
        )  # fmt: skip


def compiled(case: Case, architecture: int) -> dict[str, Any]:
    """Compile one kernel and describe its machine code."""
    names = case.kernel.arg_names
    signature = {name: "constexpr" if name in case.constants else case.types[name] for name in names}
    constants = {(names.index(name),): value for name, value in case.constants.items()}
    # What a launch finds out by looking: pointers and aligned numbers are multiples of 16.
    aligned = [name for name, kind in signature.items() if kind.startswith("*") or name in case.aligned]
    source = ASTSource(
        fn=case.kernel,
        signature=signature,
        constexprs=constants,
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    made = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=case.options)
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(made.asm["cubin"])
        use, code = (
            subprocess.run([CUOBJDUMP, flag, cubin], capture_output=True, text=True, check=True).stdout
            for flag in ("-res-usage", "-sass")
        )
    found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", use)}
    operations = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+ )?([A-Z][A-Z0-9_.]+)", code)
    return {
        "registers": found["REG"],
        "stack": found["STACK"],
        "local": found["LOCAL"],
        "shared": made.metadata.shared,
        "operations": {name: operations.count(name) for name in sorted(set(operations))},
    }


def main() -> None:
    for architecture in [int(text) for text in sys.argv[1:]] or [80, 90]:
        for dtype in ("bf16", "fp16"):
            for case in cases(dtype):
                about = {"kernel": case.name, "dtype": dtype, "architecture": architecture}
                print(json.dumps(about | compiled(case, architecture)), flush=True)


if __name__ == "__main__":
    main()
