"""8-bit weights: their error, and the product over them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from closeness import assert_close, error  # noqa: E402
from vocabkit_kernels import Int8Weight, int8_linear, int8_quantize, nf4_quantize, reference  # noqa: E402
from vocabkit_kernels.int8 import SLAB_VALUES  # noqa: E402

pytestmark = pytest.mark.gpu
FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu") -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype).to(device)


def dense(weight: Int8Weight) -> torch.Tensor:
    return weight.values.double() * weight.scale.double()[:, None]


def test_nf4_loses_little(device: str) -> None:
    original = draw(256, 1024, device=device)
    nf4 = nf4_quantize(original)
    alone, both = error(reference.nf4_dequantize(nf4), original), error(dense(int8_quantize(nf4)), original)
    assert alone == pytest.approx(0.092, abs=0.003)
    assert both < alone + 0.002
    assert error(dense(int8_quantize(original)), original) < 0.01


def test_slabs_make_the_same_as_the_whole(device: str) -> None:
    original = draw(5, SLAB_VALUES // 2, device=device)
    whole, parts = int8_quantize(original), [int8_quantize(original[i : i + 1]) for i in range(5)]
    assert torch.equal(whole.values, torch.cat([part.values for part in parts]))
    assert torch.equal(whole.scale, torch.cat([part.scale for part in parts]))
    assert whole.nbytes == original.numel() + 5 * 4


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("places", "rows", "columns"), [(1, 64, 128), (37, 70, 64), (3, 5, 32)])
def test_the_product(places: int, rows: int, columns: int, dtype: torch.dtype, device: str) -> None:
    weight = int8_quantize(draw(rows, columns, seed=1, device=device))
    x = draw(places, columns, dtype=dtype, device=device)
    a, b = draw(4, columns, seed=2, dtype=dtype, device=device), draw(rows, 4, seed=3, dtype=dtype, device=device)
    bias = draw(rows, seed=4, dtype=dtype, device=device)
    made = int8_linear(x, weight, bias=bias, lora=(a, b, 0.1))
    expected = x.double() @ dense(weight).t() + 0.1 * (x.double() @ a.double().t()) @ b.double().t() + bias.double()
    assert made.dtype == dtype
    # x and the scales are rounded to bfloat16 on a CPU, the result of that product too.
    assert error(made, expected) <= 2 * 2**-8


def test_without_torch_s_private_product(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "_weight_int8pack_mm", raising=False)
    weight = int8_quantize(draw(2 * SLAB_VALUES // 1024 + 3, 1024, seed=1, device=device))
    x = draw(2, 1024, device=device)
    assert_close(int8_linear(x, weight), x.double() @ dense(weight).t())


def test_zeros_empty_and_shapes(device: str) -> None:
    weight = int8_quantize(torch.zeros(4, 64, device=device))
    assert not int8_linear(draw(2, 3, 64, device=device), weight).any()
    assert int8_linear(torch.zeros(2, 0, 64, device=device), weight).shape == (2, 0, 4)
    with pytest.raises(ValueError, match=r"x \[2, 32\] does not fit a weight of \[4, 64\]"):
        int8_linear(torch.zeros(2, 32, device=device), weight)
    with pytest.raises(ValueError, match=r"bias of \[1\] does not fit 4 rows"):
        int8_linear(torch.zeros(2, 64, device=device), weight, bias=torch.zeros(1, device=device))
    with pytest.raises(ValueError, match="int64"):
        int8_linear(torch.zeros(2, 64, dtype=torch.int64, device=device), weight)


def test_the_operator_is_what_torch_expects(device: str) -> None:
    weight = int8_quantize(draw(4, 64, seed=1, device=device))
    x = draw(2, 64, device=device)
    torch.library.opcheck(torch.ops.vocabkit.int8_linear.default, (x, weight.values, weight.scale))
    compiled = torch.compile(int8_linear, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, weight), int8_linear(x, weight))
