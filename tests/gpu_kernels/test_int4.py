"""4-bit weights for CPUs: their error, and the product over them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from closeness import error  # noqa: E402
from vocabkit_kernels import int4_is_available, int4_linear, int4_quantize, nf4_quantize  # noqa: E402

pytestmark = pytest.mark.skipif(not int4_is_available(), reason="this torch has no 4-bit product for CPUs")
FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_its_error_is_below_that_of_nf4() -> None:
    original = draw(256, 1024)
    made = int4_linear(torch.eye(1024), int4_quantize(original)).t()
    assert error(made, original) == pytest.approx(0.079, abs=0.002)
    assert int4_quantize(original).nbytes == 256 * 1024 * 5 // 8
    assert nf4_quantize(original).nbytes > 256 * 1024 // 2


@pytest.mark.parametrize("group_size", [32, 64])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("places", "rows", "columns"), [(1, 64, 128), (37, 70, 64), (3, 5, 192)])
def test_the_product(places: int, rows: int, columns: int, dtype: torch.dtype, group_size: int) -> None:
    weight = int4_quantize(draw(rows, columns, seed=1), group_size)
    # Every column alone says what the stored values are.
    stored = int4_linear(torch.eye(columns), weight).t().double()
    assert error(stored, draw(rows, columns, seed=1)) < 0.12
    x, bias = draw(places, columns, dtype=dtype), draw(rows, seed=4, dtype=dtype)
    a, b = draw(4, columns, seed=2, dtype=dtype), draw(rows, 4, seed=3, dtype=dtype)
    made = int4_linear(x, weight, bias=bias, lora=(a, b, 0.1))
    expected = x.double() @ stored.t() + 0.1 * (x.double() @ a.double().t()) @ b.double().t() + bias.double()
    assert made.dtype == dtype
    assert error(made, expected) <= 2 * 2**-8


def test_constant_groups_and_nothing_at_all() -> None:
    weight = int4_quantize(torch.full((3, 64), 0.5))
    assert torch.allclose(int4_linear(torch.ones(2, 64), weight), torch.full((2, 3), 32.0), rtol=1e-2)
    assert not int4_linear(torch.ones(1, 64), int4_quantize(torch.zeros(3, 64))).any()
    assert int4_linear(torch.ones(2, 0, 64), weight).shape == (2, 0, 3)


def test_bad_input_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = int4_quantize(torch.ones(3, 64))
    with pytest.raises(ValueError, match="loses twice"):
        int4_quantize(nf4_quantize(torch.ones(3, 64)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="48 columns"):
        int4_quantize(torch.ones(3, 48))
    with pytest.raises(ValueError, match=r"x \[2, 32\] does not fit"):
        int4_linear(torch.ones(2, 32), weight)
    monkeypatch.setattr("vocabkit_kernels.int4.NEEDED", ("_no_such_operator",))
    with pytest.raises(RuntimeError, match="use int8_quantize"):
        int4_quantize(torch.ones(3, 64))


def test_the_operator_is_what_torch_expects() -> None:
    weight = int4_quantize(draw(20, 64, seed=1))
    x = draw(2, 64)
    torch.library.opcheck(torch.ops.vocabkit.int4_linear.default, (x, weight.packed, weight.scales, 32, 20))
    compiled = torch.compile(int4_linear, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, weight), int4_linear(x, weight))
