"""GPU kernels for vocabkit, and the plain PyTorch they are checked against.

Every function here runs anywhere: by Triton kernels on a GPU, else by plain PyTorch.  `VOCABKIT_KERNELS=torch` or
`triton` chooses, and `auto` is the default.  `vocabkit_kernels.reference` is what each of them has to compute.
"""

from vocabkit_kernels.cross_entropy import linear_cross_entropy
from vocabkit_kernels.dequantize import nf4_dequantize
from vocabkit_kernels.embedding import split_embedding
from vocabkit_kernels.int4 import Int4Weight, int4_is_available, int4_linear, int4_quantize
from vocabkit_kernels.int8 import Int8Weight, int8_linear, int8_quantize
from vocabkit_kernels.lora import LoRAWeight, lora_linear, lora_linears, merge_lora
from vocabkit_kernels.nf4 import NF4Weight, nf4_quantize
from vocabkit_kernels.nf4_linear import nf4_linear
from vocabkit_kernels.optimizer import RowAdamW

__all__ = [
    "Int4Weight",
    "Int8Weight",
    "LoRAWeight",
    "NF4Weight",
    "RowAdamW",
    "int4_is_available",
    "int4_linear",
    "int4_quantize",
    "int8_linear",
    "int8_quantize",
    "linear_cross_entropy",
    "lora_linear",
    "lora_linears",
    "merge_lora",
    "nf4_dequantize",
    "nf4_linear",
    "nf4_quantize",
    "split_embedding",
]
