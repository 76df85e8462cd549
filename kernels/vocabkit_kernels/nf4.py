"""NF4 weights in bitsandbytes' byte layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from typing import Any

import torch
from torch import Tensor

# The 16 quantiles of a normal distribution that NF4 stands for.
# Source: Dettmers et al., "QLoRA", NeurIPS 2023, appendix E.
NF4_VALUES = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
BLOCKSIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
# Blocks whose absmax are quantised together.
NESTED_BLOCKSIZE = 256
# What a block of zeros is divided by.
SMALLEST = 1e-38
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
# packed, absmax; code, absmax and offset of the nested ones; blocksize.
Parts = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, int]
# Values that exist in floating point at a time where a weight is worked on slab by slab: 16 MB in float32.
SLAB_VALUES = 1 << 22
STATE_KEY = "quant_state.bitsandbytes__nf4"


@dataclass(frozen=True)
class NestedAbsmax:
    """How the absmax of blocks are stored in 8 bits: absmax[b] = code[q[b]] * absmax[b // 256] + offset.

    code: [256] float32.  absmax: [ceil(blocks / 256)] float32.  offset: [] float32.
    """

    code: Tensor
    absmax: Tensor
    offset: Tensor


@dataclass(frozen=True)
class NF4Weight:
    """A weight [N, K] in 4 bits a value.

    packed: [N, K / 2] uint8, value 2j in the high half of byte j, 2j + 1 in the low one.
    absmax: [N * K / blocksize], the greatest absolute value of each stretch of a row: float32, or uint8 if `nested`.
    shape: (N, K); K is a multiple of blocksize.
    dtype: what it was quantised from, and is dequantised to by default.
    """

    packed: Tensor
    absmax: Tensor
    shape: tuple[int, int]
    dtype: torch.dtype
    blocksize: int = 64
    nested: NestedAbsmax | None = None

    def __post_init__(self) -> None:
        rows, columns = self.shape
        _check_blocks(columns, self.blocksize)
        if self.packed.dtype != torch.uint8 or self.packed.shape != (rows, columns // 2):
            raise ValueError(
                f"packed is {self.packed.dtype} {list(self.packed.shape)}, not uint8 {[rows, columns // 2]}"
            )
        parts = [self.packed, self.absmax]
        parts += [self.nested.code, self.nested.absmax, self.nested.offset] if self.nested else []
        if any(not part.is_contiguous() or part.device != self.packed.device for part in parts):
            raise ValueError("the tensors of an NF4 weight must be contiguous and on one device; call .contiguous()")
        blocks, expected = rows * columns // self.blocksize, torch.uint8 if self.nested else torch.float32
        if self.absmax.dtype != expected or self.absmax.numel() != blocks:
            raise ValueError(f"absmax is {self.absmax.dtype} [{self.absmax.numel()}], not {expected} [{blocks}]")
        if self.nested:
            numbers = tuple(part.numel() for part in (self.nested.code, self.nested.absmax, self.nested.offset))
            wanted = (256, ceil(blocks / NESTED_BLOCKSIZE), 1)
            if numbers != wanted or any(part.dtype != torch.float32 for part in parts[2:]):
                raise ValueError(f"nested code, absmax and offset have {numbers} values, not {wanted} in float32")

    @property
    def parts(self) -> Parts:
        """What operators take instead of a dataclass."""
        nested = self.nested
        rest = (nested.code, nested.absmax, nested.offset) if nested else (None, None, None)
        return self.packed, self.absmax, *rest, self.blocksize

    @classmethod
    def of_parts(
        cls,
        packed: Tensor,
        absmax: Tensor,
        nested_code: Tensor | None,
        nested_absmax: Tensor | None,
        nested_offset: Tensor | None,
        blocksize: int,
        dtype: torch.dtype,
    ) -> NF4Weight:
        """Return the weight that `parts` were of."""
        nested = None
        if nested_code is not None and nested_absmax is not None and nested_offset is not None:
            nested = NestedAbsmax(nested_code, nested_absmax, nested_offset)
        return cls(packed, absmax, (len(packed), packed.shape[1] * 2), dtype, blocksize, nested)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.packed.device

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors."""
        parts = [self.packed, self.absmax]
        parts += [self.nested.code, self.nested.absmax, self.nested.offset] if self.nested else []
        return sum(part.nbytes for part in parts)

    def to(self, device: torch.device | str) -> NF4Weight:
        """Return it on another device."""
        nested = self.nested
        if nested:
            nested = NestedAbsmax(nested.code.to(device), nested.absmax.to(device), nested.offset.to(device))
        return replace(self, packed=self.packed.to(device), absmax=self.absmax.to(device), nested=nested)

    @classmethod
    def from_bnb(cls, packed: Tensor, state: Any) -> NF4Weight:
        """Return bitsandbytes' (packed, QuantState) without copying.  packed: any quant_storage dtype.

        Raises ValueError for FP4, and for blocks that cross rows.
        """
        if state.quant_type != "nf4":
            raise ValueError(f"quant_type {state.quant_type} is not nf4; quantise the weight again")
        nested = None
        if state.nested:
            _check_nested(state.state2.blocksize)
            nested = NestedAbsmax(state.state2.code, state.state2.absmax, state.offset)
        rows, columns = _two(tuple(state.shape))
        _check_blocks(columns, state.blocksize)
        bytes_ = packed.reshape(-1).view(torch.uint8).view(rows, columns // 2)
        return cls(bytes_, state.absmax.reshape(-1), (rows, columns), state.dtype, state.blocksize, nested)

    def to_bnb(self) -> tuple[Tensor, Any]:
        """Return (packed [N * K / 2, 1], QuantState) for bitsandbytes, without copying; imports bitsandbytes."""
        from bitsandbytes.functional import QuantState as UntypedState

        QuantState: Any = UntypedState
        common = {"shape": torch.Size(self.shape), "dtype": self.dtype, "blocksize": self.blocksize}
        common |= {"code": nf4_code(self.device), "quant_type": "nf4", "absmax": self.absmax}
        if self.nested:
            inner = QuantState(
                absmax=self.nested.absmax, code=self.nested.code, blocksize=NESTED_BLOCKSIZE, dtype=torch.float32
            )
            common |= {"offset": self.nested.offset, "state2": inner}
        return self.packed.view(-1, 1), QuantState(**common)

    def state_dict(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors of a safetensors checkpoint, named as bitsandbytes names them.  prefix: "...weight"."""
        about: dict[str, Any] = {"quant_type": "nf4", "blocksize": self.blocksize}
        about |= {"dtype": str(self.dtype).removeprefix("torch."), "shape": list(self.shape)}
        tensors = {
            prefix: self.packed.view(-1, 1),
            f"{prefix}.absmax": self.absmax,
            f"{prefix}.quant_map": nf4_code(self.device).clone(),
        }
        if self.nested:
            about |= {"nested_blocksize": NESTED_BLOCKSIZE, "nested_dtype": "float32"}
            about |= {"nested_offset": self.nested.offset.item()}
            tensors[f"{prefix}.nested_absmax"] = self.nested.absmax
            tensors[f"{prefix}.nested_quant_map"] = self.nested.code
        written = torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8, device=self.device)
        return tensors | {f"{prefix}.{STATE_KEY}": written}

    @classmethod
    def from_state_dict(cls, tensors: Mapping[str, Tensor], prefix: str) -> NF4Weight:
        """Return the weight that `state_dict`, or bitsandbytes, wrote under `prefix`.

        Raises KeyError when a tensor is missing, ValueError when it is no NF4 weight that can be read.
        """
        missing = [key for key in (prefix, f"{prefix}.absmax", f"{prefix}.{STATE_KEY}") if key not in tensors]
        if missing:
            raise KeyError(f"no {missing[0]} in the checkpoint; {prefix} is not stored as NF4")
        about = json.loads(bytes(tensors[f"{prefix}.{STATE_KEY}"].tolist()))
        rows, columns = _two(tuple(about["shape"]))
        _check_blocks(columns, about["blocksize"])
        nested = None
        packed, absmax = tensors[prefix], tensors[f"{prefix}.absmax"]
        if "nested_offset" in about:
            _check_nested(about["nested_blocksize"])
            offset = torch.tensor(about["nested_offset"], dtype=torch.float32, device=absmax.device)
            nested = NestedAbsmax(tensors[f"{prefix}.nested_quant_map"], tensors[f"{prefix}.nested_absmax"], offset)
        bytes_ = packed.reshape(-1).view(torch.uint8).view(rows, columns // 2)
        dtype = getattr(torch, about["dtype"])
        return cls(bytes_, absmax.reshape(-1), (rows, columns), dtype, about["blocksize"], nested)


def nf4_quantize(weight: Tensor, blocksize: int = 64, *, double_quant: bool = True) -> NF4Weight:
    """Return `weight` [N, K] (float32, float16, bfloat16) in 4 bits a value, bit for bit as bitsandbytes does.

    Each stretch of `blocksize` values of a row is divided by its greatest absolute value and rounded to the nearest
    of `NF4_VALUES`.  double_quant: those greatest values, less their mean, are stored in 8 bits, 256 of them scaled
    together.
    Source: Dettmers et al., "QLoRA", NeurIPS 2023.
    Raises ValueError when K is no multiple of the blocksize, or the weight has no such form.
    """
    if weight.dtype not in FLOATS:
        raise ValueError(f"a weight of {weight.dtype} cannot be quantised; use float32, float16 or bfloat16")
    rows, columns = _two(tuple(weight.shape))
    _check_blocks(columns, blocksize)
    blocks = weight.detach().reshape(-1, blocksize).float()
    absmax = blocks.abs().amax(1)
    scaled = (blocks * (1.0 / absmax.clamp(min=SMALLEST))[:, None]).clamp_(-1, 1)
    code = nf4_code(weight.device)
    # Of two equally near values the lower.
    nearest = torch.bucketize(scaled, (code[:-1] + code[1:]) / 2, out_int32=True).to(torch.uint8)
    packed = ((nearest[:, ::2] << 4) | nearest[:, 1::2]).view(rows, columns // 2)
    if not double_quant:
        return NF4Weight(packed, absmax, (rows, columns), weight.dtype, blocksize)
    quantized, nested = _quantize_absmax(absmax)
    return NF4Weight(packed, quantized, (rows, columns), weight.dtype, blocksize, nested)


def _quantize_absmax(absmax: Tensor) -> tuple[Tensor, NestedAbsmax]:
    offset = absmax.mean()
    rest = absmax - offset
    padded = torch.nn.functional.pad(rest, (0, -len(rest) % NESTED_BLOCKSIZE)).view(-1, NESTED_BLOCKSIZE)
    outer = padded.abs().amax(1)
    scaled = (padded * (1.0 / outer.clamp(min=SMALLEST))[:, None]).clamp_(-1, 1)
    code = dynamic_code(absmax.device)
    nearest = torch.bucketize(scaled, (code[:-1] + code[1:]) / 2, out_int32=True)
    return nearest.to(torch.uint8).view(-1)[: len(absmax)].clone(), NestedAbsmax(code, outer, offset)


@cache
def nf4_code(device: torch.device) -> Tensor:
    """Return `NF4_VALUES`, [16] float32."""
    return torch.tensor(NF4_VALUES, dtype=torch.float32, device=device)


@cache
def dynamic_code(device: torch.device) -> Tensor:
    """Return the 256 values that 8-bit statistics are rounded to, ascending, [256] float32.

    For every power of ten from 1e-6 to 1, twice as many values as for the one before, evenly within it, of both
    signs; and 0 and 1.
    Source: Dettmers, "8-Bit Approximations for Parallelism in Deep Learning", ICLR 2016.
    """
    values = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2**exponent + 1, dtype=torch.float32)
        middles = 10.0 ** (exponent - 6) * ((edges[:-1] + edges[1:]) / 2)
        values += [*middles.tolist(), *(-middles).tolist()]
    return torch.tensor(sorted(values), dtype=torch.float32, device=device)


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise ValueError(f"a weight of shape {list(shape)} has no rows and columns; NF4 weights have two dimensions")
    return shape[0], shape[1]


def _check_blocks(columns: int, blocksize: int) -> None:
    if blocksize not in BLOCKSIZES:
        raise ValueError(f"blocksize {blocksize} is not one of {', '.join(map(str, BLOCKSIZES))}")
    if columns % blocksize:
        fitting = [size for size in BLOCKSIZES if columns % size == 0]
        hint = f"use blocksize {fitting[-1]}" if fitting else f"pad them to {columns + -columns % 64}"
        raise ValueError(f"{columns} columns are no multiple of blocksize {blocksize}; {hint}")


def _check_nested(blocksize: int) -> None:
    if blocksize != NESTED_BLOCKSIZE:
        raise ValueError(f"nested blocksize {blocksize} is not supported; bitsandbytes writes {NESTED_BLOCKSIZE}")
