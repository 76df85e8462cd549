"""Linear layers in 4 bits a value on a CPU, made from the weights themselves, not from NF4."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vocabkit_kernels.int8 import with_adapter
from vocabkit_kernels.lora import flattened
from vocabkit_kernels.nf4 import SLAB_VALUES, NF4Weight

GROUP_SIZES = (32, 64, 128, 256)
# What torch's packing demands of the number of rows.
ROWS_TOGETHER = 16
NEEDED = ("_convert_weight_to_int4pack_for_cpu", "_weight_int4pack_mm_for_cpu")


@dataclass(frozen=True)
class Int4Weight:
    """A weight [N, K] as torch packs it for its CPU product.

    packed: [N rounded up to 16, K / 2] uint8.  scales: [K / group_size, N rounded up to 16, 2] bfloat16, step and
    offset: value = (q - 8) step + offset.
    """

    packed: Tensor
    scales: Tensor
    shape: tuple[int, int]
    group_size: int

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return self.packed.nbytes + self.scales.nbytes


def int4_is_available() -> bool:
    """Return whether this torch has the two private operators that 4-bit products on a CPU take."""
    return all(hasattr(torch.ops.aten, name) for name in NEEDED)


def int4_quantize(weight: Tensor, group_size: int = 32) -> Int4Weight:
    """Return `weight` [N, K] in 16 even steps from the least to the greatest of each `group_size` values of a row.

    With groups of 32 as near as NF4 (7.8 % against 9.2 % on normal values) and 5 bits a value; made from NF4 the two
    errors would add up (12.1 %), so that is refused: use `int8_quantize` there.
    Raises ValueError for NF4, and when K is no multiple of the group; RuntimeError where torch lacks the operators.
    """
    if isinstance(weight, NF4Weight):
        raise ValueError("NF4 made into int4 loses twice; use int8_quantize, or the weights it was made from")
    if not int4_is_available():
        raise RuntimeError(f"torch {torch.__version__} has no 4-bit product for CPUs; use int8_quantize")
    if weight.device.type != "cpu":
        raise ValueError(f"int4 weights are for CPUs, and this one is on {weight.device}; use nf4_quantize")
    rows, columns = weight.shape
    if group_size not in GROUP_SIZES or columns % group_size:
        raise ValueError(f"{columns} columns are no multiple of a group of {group_size}; use one of {GROUP_SIZES}")
    height = rows + -rows % ROWS_TOGETHER
    scales = torch.zeros(columns // group_size, height, 2, dtype=torch.bfloat16)
    packed = torch.zeros(height, columns // 2, dtype=torch.uint8)
    step = max(1, SLAB_VALUES // max(columns, 1) // ROWS_TOGETHER) * ROWS_TOGETHER
    for first in range(0, height, step):
        slab = weight[first : first + step].detach().float()
        slab = torch.nn.functional.pad(slab, (0, 0, 0, -len(slab) % ROWS_TOGETHER))
        part = slice(first, first + len(slab))
        groups = slab.view(len(slab), -1, group_size)
        least, greatest = groups.amin(2), groups.amax(2)
        # Steps and offsets as they are stored, so that values are rounded to what will be read.
        size = ((greatest - least) / 15).bfloat16()
        offset = (least + 8 * size.float()).bfloat16()
        scales[:, part, 0], scales[:, part, 1] = size.t(), offset.t()
        near = (groups - offset.float()[..., None]) / size.float().clamp(min=1e-38)[..., None]
        values = (near.round_() + 8).clamp_(0, 15).to(torch.int32).view(len(slab), columns)
        packed[part] = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values, 1)
    return Int4Weight(packed, scales, (rows, columns), group_size)


def int4_linear(
    x: Tensor,
    weight: Int4Weight,
    *,
    bias: Tensor | None = None,
    lora: tuple[Tensor, Tensor, float] | None = None,
) -> Tensor:
    """Return x W^T + scale (x A^T) B^T + bias, [*, N], without gradients; x is rounded to bfloat16.

    Raises ValueError for shapes that do not fit.
    """
    flat = flattened(x, weight.shape)
    made: Tensor = _int4_linear(flat, weight.packed, weight.scales, weight.group_size, weight.shape[0])
    return with_adapter(made, flat, weight.shape, bias, lora).view(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op("vocabkit::int4_linear", mutates_args=())
def _int4_linear(x: Tensor, packed: Tensor, scales: Tensor, group_size: int, rows: int) -> Tensor:
    if not len(x):
        return x.new_empty(0, rows)
    made: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x.bfloat16().contiguous(), packed, group_size, scales)
    return made[:, :rows].to(x.dtype, copy=True)


@_int4_linear.register_fake
def _(x: Tensor, packed: Tensor, scales: Tensor, group_size: int, rows: int) -> Tensor:
    return x.new_empty(len(x), rows)
