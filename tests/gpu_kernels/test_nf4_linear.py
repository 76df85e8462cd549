"""The linear layer over 4-bit weights against the exact product."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from closeness import assert_close, error  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from vocabkit_kernels import nf4_linear, nf4_quantize, reference  # noqa: E402

pytestmark = pytest.mark.gpu
FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def draw(*shape: int, seed: int, dtype: torch.dtype, device: str, scale: float = 1.0) -> torch.Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype).to(device)


def exactly(x: Any, weight: Any, bias: Any = None, lora: Any = None) -> torch.Tensor:
    """Return the product in float64, of the same stored values."""
    made = x.double() @ reference.nf4_dequantize(weight, torch.float64).t()
    if lora is not None:
        a, b, scale = lora
        made += scale * (x.double() @ a.double().t()) @ b.double().t()
    return made if bias is None else made + bias.double()


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("places", "rows", "columns", "rank", "blocksize"),
    [(1, 64, 128, 0, 64), (37, 160, 256, 16, 64), (3, 5, 64, 1, 32), (70, 66, 512, 24, 128)],
)
def test_any_layer(
    places: int, rows: int, columns: int, rank: int, blocksize: int, dtype: torch.dtype, double_quant: bool,
    device: str, route: str,
) -> None:  # fmt: skip
    x = draw(places, columns, seed=0, dtype=dtype, device=device)
    dense = draw(rows, columns, seed=1, dtype=dtype, device=device, scale=columns**-0.5)
    weight = nf4_quantize(dense, blocksize, double_quant=double_quant)
    bias = draw(rows, seed=2, dtype=dtype, device=device) if rank else None
    lora = None
    if rank:
        a = draw(rank, columns, seed=3, dtype=dtype, device=device, scale=columns**-0.5)
        lora = (a, draw(rows, rank, seed=4, dtype=dtype, device=device, scale=rank**-0.5), 0.5)
    made = nf4_linear(x, weight, bias=bias, lora=lora)
    assert made.dtype == dtype
    assert_close(made, exactly(x, weight, bias, lora), times=1 if dtype == torch.float32 else 1.5)


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_parts_of_the_columns_are_added_in_order(parts: int, device: str) -> None:
    pytest.importorskip("triton")
    from vocabkit_kernels.jit.nf4_linear import launch
    from vocabkit_kernels.routes import Route

    x = draw(5, 512, seed=0, dtype=torch.float32, device=device)
    weight = nf4_quantize(draw(70, 512, seed=1, dtype=torch.float32, device=device))
    a, b = (draw(*shape, seed=2, dtype=torch.float32, device=device) for shape in ((8, 512), (70, 8)))
    bias = draw(70, seed=3, dtype=torch.float32, device=device)
    out = torch.full((5, 70), float("nan"), device=device)
    launch(out, x, weight, bias, x @ a.t(), b, Route(parts=parts))
    assert_close(out, exactly(x, weight, bias, (a, b, 1.0)))
    again = torch.full_like(out, float("nan"))
    launch(again, x, weight, bias, x @ a.t(), b, Route(parts=parts))
    assert torch.equal(out, again)


def test_work_for_every_processor_and_no_part_too_small() -> None:
    pytest.importorskip("triton")
    from vocabkit_kernels.jit.nf4_linear import parts_of

    assert parts_of(programs=64, steps=64, processors=132) == 5
    assert parts_of(programs=1, steps=16, processors=132) == 2
    assert parts_of(programs=7168, steps=128, processors=132) == 1
    assert parts_of(programs=1, steps=1, processors=132) == 1


@settings(max_examples=15, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), max_size=2), rows=st.integers(1, 70), blocks=st.integers(1, 4),
    double_quant=st.booleans(), dtype=st.sampled_from(FLOATS),
)  # fmt: skip
def test_any_shape(shape: list[int], rows: int, blocks: int, double_quant: bool, dtype: torch.dtype) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = draw(*shape, 64 * blocks, seed=0, dtype=dtype, device=device)
    weight = nf4_quantize(draw(rows, 64 * blocks, seed=1, dtype=dtype, device=device), double_quant=double_quant)
    made = nf4_linear(x, weight)
    assert made.shape == (*shape, rows)
    assert error(made, exactly(x, weight)) <= {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]


def test_x_that_is_not_contiguous(device: str, route: str) -> None:
    weight = nf4_quantize(draw(20, 64, seed=1, dtype=torch.float32, device=device))
    wide = draw(6, 100, seed=0, dtype=torch.float32, device=device)
    for x in (wide[:, 10:74], wide[:, :64], draw(64, 6, seed=2, dtype=torch.float32, device=device).t()):
        assert_close(nf4_linear(x, weight), exactly(x, weight))


@pytest.mark.parametrize("rank", [128, 200])
def test_great_ranks(rank: int, device: str, route: str) -> None:
    x = draw(3, 64, seed=0, dtype=torch.float32, device=device)
    weight = nf4_quantize(draw(20, 64, seed=1, dtype=torch.float32, device=device))
    a, b = (draw(*shape, seed=2, dtype=torch.float32, device=device) for shape in ((rank, 64), (20, rank)))
    bias = draw(20, seed=3, dtype=torch.float32, device=device)
    assert_close(nf4_linear(x, weight, bias=bias, lora=(a, b, 0.5)), exactly(x, weight, bias, (a, b, 0.5)))


def test_under_autocast_it_is_a_product_like_any(device: str, route: str) -> None:
    x = draw(3, 64, seed=0, dtype=torch.float32, device=device)
    weight = nf4_quantize(draw(20, 64, seed=1, dtype=torch.float32, device=device))
    a, b = (draw(*shape, seed=2, dtype=torch.float32, device=device) for shape in ((8, 64), (20, 8)))
    with torch.autocast(device, dtype=torch.bfloat16):
        made = nf4_linear(x, weight, lora=(a, b, 0.5))
    assert made.dtype == torch.bfloat16
    assert error(made, exactly(x, weight, None, (a, b, 0.5))) < 2e-2


def test_no_memory_for_the_whole_weight_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from vocabkit_kernels import nf4_linear as function
    from vocabkit_kernels.nf4_linear import SLAB_VALUES

    monkeypatch.setenv("VOCABKIT_KERNELS", "torch")
    weight = nf4_quantize(draw(3 * SLAB_VALUES // 256 + 7, 256, seed=1, dtype=torch.float32, device="cpu"))
    x = draw(2, 256, seed=0, dtype=torch.float32, device="cpu")
    assert_close(function(x, weight), exactly(x, weight))


def test_bad_input_is_one_clear_line(device: str) -> None:
    weight = nf4_quantize(torch.zeros(8, 64, device=device))
    with pytest.raises(ValueError, match=r"x \[2, 32\] does not fit a weight of \[8, 64\]"):
        nf4_linear(torch.zeros(2, 32, device=device), weight)
    with pytest.raises(ValueError, match="float64"):
        nf4_linear(torch.zeros(2, 64, dtype=torch.float64, device=device), weight)
    with pytest.raises(ValueError, match=r"bias of \[7\]"):
        nf4_linear(torch.zeros(2, 64, device=device), weight, bias=torch.zeros(7, device=device))


def test_the_operator_is_what_torch_expects(device: str, route: str) -> None:
    weight = nf4_quantize(draw(8, 64, seed=1, dtype=torch.float32, device=device))
    x = draw(3, 64, seed=0, dtype=torch.float32, device=device)
    nested = weight.nested
    assert nested is not None
    parts = (weight.packed, weight.absmax, nested.code, nested.absmax, nested.offset, 64)
    torch.library.opcheck(torch.ops.vocabkit.nf4_linear.default, (x, *parts, None, None, None, 1.0))
    compiled = torch.compile(lambda x, weight: nf4_linear(x, weight), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, weight), nf4_linear(x, weight))
    assert torch.equal(nf4_linear(x, replace(weight, dtype=torch.float16)), nf4_linear(x, weight))
