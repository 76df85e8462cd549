"""What kernels share, and the rules they keep so that Triton's interpreter computes the same on a CPU.

The interpreter holds bfloat16 as bit patterns and does arithmetic on those, so: every load is made float32 before
arithmetic, and every product of matrices goes through `dot`.  It truncates when it casts to bfloat16, where a GPU
rounds to even.  It knows no inline assembly, no libdevice and no autotuning.
"""

import triton
import triton.language as tl
from triton import knobs

INTERPRET = tl.constexpr(bool(knobs.runtime.interpret))


@triton.jit
def dot(a, b, sum):
    """sum + a @ b, in float32."""
    if INTERPRET:
        # A product of two bfloat16 is exact in float32.
        return tl.dot(a.to(tl.float32), b.to(tl.float32), sum, input_precision="ieee")
    else:
        return tl.dot(a, b, sum, input_precision="ieee")
