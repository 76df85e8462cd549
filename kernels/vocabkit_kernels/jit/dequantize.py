"""NF4 dequantisation in one launch."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from vocabkit_kernels.nf4 import NESTED_BLOCKSIZE, NF4Weight, nf4_code

# Bytes a program reads: 16 for each of 128 threads, the widest load there is.
PROGRAM_BYTES = 2048
WARPS = 4


@triton.jit
def dequantize_kernel(
    packed,
    absmax,
    code,
    nested_code,
    nested_absmax,
    nested_offset,
    out,
    blocks_in_row,
    first_block,
    blocks,
    out_stride,
    BLOCKSIZE: tl.constexpr,
    NESTED_BLOCKSIZE: tl.constexpr,
    NESTED: tl.constexpr,
    FLAT: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """Each program writes BLOCKS quantisation blocks of BLOCKSIZE values; they never cross a row.

    FLAT: the rows of `out` follow each other.  Blocks are counted in 32 bits, whose division is cheap: enough for
    2^36 values.
    """
    HALF: tl.constexpr = BLOCKSIZE // 2
    block = tl.program_id(0) * BLOCKS + tl.arange(0, BLOCKS)
    inside = block < blocks
    stored = block + first_block
    if NESTED:
        place = tl.load(absmax + stored, mask=inside, other=0).to(tl.int32)
        outer = tl.load(nested_absmax + stored // NESTED_BLOCKSIZE, mask=inside, other=0.0)
        scale = tl.load(nested_code + place) * outer + tl.load(nested_offset)
    else:
        scale = tl.load(absmax + stored, mask=inside, other=0.0)
    places = stored.to(tl.int64)[:, None] * HALF + tl.arange(0, HALF)[None, :]
    pairs = tl.load(packed + places, mask=inside[:, None], other=0).to(tl.int32)
    # A table of 16 in shared memory: a tree of selections takes more instructions than the memory leaves time for.
    table = tl.load(code + tl.arange(0, 16))
    high = tl.reshape(tl.gather(table, tl.reshape(pairs >> 4, (BLOCKS * HALF,)), 0), (BLOCKS, HALF))
    low = tl.reshape(tl.gather(table, tl.reshape(pairs & 15, (BLOCKS * HALF,)), 0), (BLOCKS, HALF))
    values = tl.interleave(high * scale[:, None], low * scale[:, None])
    if FLAT:
        start = block.to(tl.int64) * BLOCKSIZE
    else:
        start = (block // blocks_in_row).to(tl.int64) * out_stride + (block % blocks_in_row) * BLOCKSIZE
    target = out + start[:, None] + tl.arange(0, BLOCKSIZE)[None, :]
    tl.store(target, values.to(out.dtype.element_ty), mask=inside[:, None])


def launch(out: Tensor, weight: NF4Weight, first: int, end: int) -> None:
    """Write rows `first` to `end` of the weight into `out`, whose columns are adjacent."""
    blocks_in_row = weight.shape[1] // weight.blocksize
    blocks = (end - first) * blocks_in_row
    together = max(1, PROGRAM_BYTES * 2 // weight.blocksize)
    code, nested = nf4_code(weight.device), weight.nested
    dequantize_kernel[(triton.cdiv(blocks, together),)](
        weight.packed,
        weight.absmax,
        code,
        nested.code if nested else code,
        nested.absmax if nested else code,
        nested.offset if nested else code,
        out,
        blocks_in_row,
        first * blocks_in_row,
        blocks,
        out.stride(0),
        BLOCKSIZE=weight.blocksize,
        NESTED_BLOCKSIZE=NESTED_BLOCKSIZE,
        NESTED=nested is not None,
        FLAT=out.stride(0) == weight.shape[1],
        BLOCKS=together,
        num_warps=WARPS,
        # bitsandbytes rounds the product before it adds the offset; one rounding would give other bits.
        enable_fp_fusion=False,
    )
