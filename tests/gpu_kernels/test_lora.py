"""LoRA layers against the plain formula in float64."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from closeness import assert_close, error  # noqa: E402
from vocabkit_kernels import (  # noqa: E402
    LoRAWeight,
    lora_linear,
    lora_linears,
    merge_lora,
    nf4_quantize,
    reference,
)
from vocabkit_kernels.routes import AdapterRoute  # noqa: E402

pytestmark = pytest.mark.gpu
FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def draw(*shape: int, seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float32, device: str) -> torch.Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype).to(device)


class Layer:
    """x [2, M, K] and everything of one layer; what trains requires gradients."""

    def __init__(
        self,
        places: int,
        rows: int,
        columns: int,
        rank: int,
        dtype: torch.dtype,
        device: str,
        *,
        nf4: bool,
        seed: int = 0,
    ) -> None:
        def draw_(*shape: int, number: int, scale: float = 1.0) -> torch.Tensor:
            return draw(*shape, seed=seed * 10 + number, scale=scale, dtype=dtype, device=device)

        self.x = draw_(2, places, columns, number=0).requires_grad_()
        dense = draw_(rows, columns, number=1, scale=columns**-0.5)
        self.weight = nf4_quantize(dense) if nf4 else dense
        self.a = draw_(rank, columns, number=2, scale=columns**-0.5).requires_grad_()
        self.b = draw_(rows, rank, number=3).requires_grad_()
        self.bias = draw_(rows, number=4).requires_grad_()

    @property
    def leaves(self) -> list[torch.Tensor]:
        return [self.x, self.a, self.b, self.bias]

    def exactly(self, gradient: torch.Tensor, keep: torch.Tensor | None = None) -> tuple[torch.Tensor, list[Any]]:
        """Return the output and the gradients in float64, of the same stored values."""
        x, a, b, bias = (leaf.detach().double().requires_grad_() for leaf in self.leaves)
        weight = reference.nf4_dequantize(self.weight) if not isinstance(self.weight, torch.Tensor) else self.weight
        made = reference.lora_linear(x, weight.double(), a, b, 0.5, keep=keep, bias=bias)
        return made, list(torch.autograd.grad(made, [x, a, b, bias], gradient.double()))


@pytest.mark.parametrize("nf4", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("places", "rows", "columns", "rank"), [(5, 96, 128, 16), (1, 7, 64, 1), (3, 130, 192, 128)])
def test_output_and_every_gradient(
    places: int, rows: int, columns: int, rank: int, dtype: torch.dtype, nf4: bool, device: str, route: str
) -> None:
    layer = Layer(places, rows, columns, rank, dtype, device, nf4=nf4)
    made = lora_linear(layer.x, layer.weight, layer.a, layer.b, 0.5, bias=layer.bias)
    gradient = draw(*made.shape, seed=9, dtype=dtype, device=device)
    expected, slopes = layer.exactly(gradient)
    # Products in 16 bits round S = x A^T on the way.
    assert_close(made, expected, times=2)
    for found, slope in zip(torch.autograd.grad(made, layer.leaves, gradient), slopes, strict=True):
        assert found.dtype == dtype
        assert_close(found, slope, times=2)


# Every way in which a table may have it computed.
ADAPTER_ROUTES = [AdapterRoute(True, False), AdapterRoute(False, True), AdapterRoute(True, True)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("way", ADAPTER_ROUTES, ids=str)
def test_every_way_computes_the_same(
    way: AdapterRoute, dtype: torch.dtype, device: str, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("vocabkit_kernels.lora"), "adapter_route_for", lambda *shape: way)
    layers = [
        Layer(70, rows, 64, rank, dtype, device, nf4=rows > 32, seed=rows)
        for rows, rank in ((130, 8), (32, 17), (200, 3), (40, 70))
    ]
    x = layers[0].x
    for layer in layers:
        layer.x = x
    made = lora_linears(x, [LoRAWeight(layer.weight, layer.a, layer.b, 0.5, layer.bias) for layer in layers])
    gradients = [draw(*one.shape, seed=9, dtype=dtype, device=device) for one in made]
    leaves = [x, *[leaf for layer in layers for leaf in layer.leaves[1:]]]
    found = torch.autograd.grad(made, leaves, gradients)
    exact_x: Any = 0
    for number, (layer, one, gradient) in enumerate(zip(layers, made, gradients, strict=True)):
        expected, slopes = layer.exactly(gradient)
        # 0.5 B is exact; S = x A^T and the slopes of it are rounded on the way.
        assert_close(one, expected, times=2)
        exact_x = exact_x + slopes[0]
        for slope, exact in zip(found[1 + 3 * number : 4 + 3 * number], slopes[1:], strict=True):
            assert_close(slope, exact, times=2)
    assert_close(found[0], exact_x, times=3)


def test_one_pass_over_the_slopes_holds_at_the_edges(device: str, route: str) -> None:
    both = torch.ops.vocabkit.lora_slopes
    for places, rows, rank in ((1, 1, 1), (64, 128, 16), (65, 129, 33), (2050, 131, 5), (3, 700, 64)):
        gradient, b = draw(places, rows, seed=1, device=device), draw(rows, rank, seed=2, device=device)
        # Columns of a wider matrix, as where several layers share their input.
        low = draw(places, rank + 3, seed=3, device=device)[:, 2 : 2 + rank]
        slope, db = both(gradient, b, low)
        assert_close(slope, gradient.double() @ b.double())
        assert_close(db, gradient.double().t() @ low.double())
        again = both(gradient, b, low)
        assert torch.equal(again[0], slope)
        assert torch.equal(again[1], db)
    torch.library.opcheck(both, (gradient, b, low))


def test_gradients_by_finite_differences() -> None:
    layer = Layer(3, 5, 8, 2, torch.float64, "cpu", nf4=False)

    def function(x: Any, a: Any, b: Any, bias: Any) -> torch.Tensor:
        return lora_linear(x, layer.weight, a, b, 0.5, bias=bias, dropout=0.3, seed=5)

    assert torch.autograd.gradcheck(function, layer.leaves)


def test_dropout_leaves_the_base_alone_and_can_be_repeated(device: str) -> None:
    layer = Layer(50, 32, 64, 8, torch.float32, device, nf4=True)
    keep = torch.ops.vocabkit.dropout_mask(layer.x.detach().reshape(-1, 64), 0.25, 11).view(layer.x.shape)
    assert keep.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert float(keep.mean()) == pytest.approx(1, abs=0.05)
    made = lora_linear(layer.x, layer.weight, layer.a, layer.b, 0.5, bias=layer.bias, dropout=0.25, seed=11)
    gradient = draw(*made.shape, seed=9, device=device)
    expected, slopes = layer.exactly(gradient, keep)
    assert_close(made, expected)
    for found, slope in zip(torch.autograd.grad(made, layer.leaves, gradient), slopes, strict=True):
        assert_close(found, slope)
    other = lora_linear(layer.x, layer.weight, layer.a, layer.b, 0.5, bias=layer.bias, dropout=0.25)
    assert not torch.equal(made, other)


@pytest.mark.parametrize("dtype", FLOATS)
def test_layers_that_share_their_input(dtype: torch.dtype, device: str) -> None:
    layers = [
        Layer(5, rows, 64, rank, dtype, device, nf4=rows > 32, seed=rows)
        for rows, rank in ((64, 8), (32, 16), (48, 4))
    ]
    x = layers[0].x
    weights = [LoRAWeight(layer.weight, layer.a, layer.b, 0.5, layer.bias) for layer in layers]
    together = lora_linears(x, weights)
    alone = [lora_linear(x, w.weight, w.a, w.b, w.scale, bias=w.bias) for w in weights]
    leaves = [x, *[leaf for layer in layers for leaf in layer.leaves[1:]]]
    gradients = [draw(*made.shape, seed=9, dtype=dtype, device=device) for made in alone]
    for one, other in zip(together, alone, strict=True):
        assert_close(one, other, times=2)
    both = (torch.autograd.grad(made, leaves, gradients) for made in (together, alone))
    for one, other in zip(*both, strict=True):
        assert_close(one, other, times=3)


def test_an_input_without_gradient_and_nothing_at_all(device: str) -> None:
    layer = Layer(4, 32, 64, 8, torch.float32, device, nf4=True)
    made = lora_linear(layer.x.detach(), layer.weight, layer.a, layer.b)
    da, db = torch.autograd.grad(made.sum(), [layer.a, layer.b])
    assert da.any()
    assert db.any()
    empty = lora_linear(layer.x[:, :0], layer.weight, layer.a, layer.b)
    assert empty.shape == (2, 0, 32)
    assert not torch.autograd.grad(empty.sum(), layer.a)[0].any()
    assert lora_linears(layer.x, []) == ()


def test_an_input_that_is_not_contiguous(device: str) -> None:
    layer = Layer(4, 32, 64, 8, torch.float32, device, nf4=True)
    turned = draw(64, 6, seed=3, device=device).t()
    made = lora_linear(turned, layer.weight, layer.a, layer.b)
    assert torch.allclose(made, lora_linear(turned.contiguous(), layer.weight, layer.a, layer.b), atol=1e-5)


def test_adapters_in_float32_beside_16_bits(device: str) -> None:
    layer = Layer(4, 32, 64, 8, torch.bfloat16, device, nf4=True)
    a, b = (part.detach().float().requires_grad_() for part in (layer.a, layer.b))
    made = lora_linear(layer.x, layer.weight, a, b)
    da, db = torch.autograd.grad(made.sum(), [a, b])
    assert made.dtype == torch.bfloat16
    assert da.dtype == db.dtype == torch.float32


def test_only_x_and_the_low_product_are_kept(device: str) -> None:
    layer = Layer(40, 256, 128, 8, torch.float32, device, nf4=True)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        lora_linear(layer.x, layer.weight, layer.a, layer.b, dropout=0.5)
    assert sorted(tensor.numel() for tensor in kept) == sorted([80 * 128, 80 * 8, 8 * 128, 256 * 8])


def test_adapters_are_merged_in_order_and_rounded_once(device: str) -> None:
    layer = Layer(1, 32, 64, 8, torch.bfloat16, device, nf4=True)
    other = Layer(1, 32, 64, 4, torch.bfloat16, device, nf4=False, seed=1)
    adapters = [(layer.a.detach(), layer.b.detach(), 0.5), (other.a.detach(), other.b.detach(), 2.0)]
    for weight in (layer.weight, other.weight):
        before = weight.clone() if isinstance(weight, torch.Tensor) else None
        merged = merge_lora(weight, adapters)
        dense = weight if isinstance(weight, torch.Tensor) else reference.nf4_dequantize(weight, torch.float32)
        expected = dense.double() + sum(s * b.double() @ a.double() for a, b, s in adapters)
        assert merged.dtype == torch.bfloat16
        assert error(merged, expected) <= 2**-8
        nearest = expected.float().bfloat16()
        assert ((merged - nearest).abs() <= nearest.abs() * 2**-7).all()
        assert torch.equal(merged, nearest) or device == "cuda"
        assert before is None or torch.equal(weight, before)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch does so itself
def test_it_compiles_whole(device: str, route: str) -> None:
    layer = Layer(4, 32, 64, 8, torch.float32, device, nf4=True)

    def function(x: Any, a: Any, b: Any) -> torch.Tensor:
        return lora_linear(x, layer.weight, a, b, 0.5, dropout=0.5, seed=3)

    inputs = [layer.x, layer.a, layer.b]
    expected = torch.autograd.grad(function(*inputs).square().sum(), inputs)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for one, other in zip(torch.autograd.grad(compiled(*inputs).square().sum(), inputs), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_bad_input_is_one_clear_line() -> None:
    x, weight = torch.zeros(3, 64), torch.zeros(32, 64)
    with pytest.raises(ValueError, match=r"\[rank, 64\] and \[32, rank\]"):
        lora_linear(x, weight, torch.zeros(8, 32), torch.zeros(32, 8))
    with pytest.raises(ValueError, match=r"x \[3, 32\] does not fit"):
        lora_linear(x[:, :32], weight, torch.zeros(8, 64), torch.zeros(32, 8))
    with pytest.raises(ValueError, match=r"dropout 1\.0"):
        lora_linear(x, weight, torch.zeros(8, 64), torch.zeros(32, 8), dropout=1.0)
    with pytest.raises(ValueError, match=r"bias of \[31\]"):
        lora_linear(x, weight, torch.zeros(8, 64), torch.zeros(32, 8), bias=torch.zeros(31))


def test_it_is_peft_s_layer(device: str) -> None:
    peft = pytest.importorskip("peft")
    model = torch.nn.Sequential(torch.nn.Linear(64, 32)).to(device)
    config = peft.LoraConfig(r=8, lora_alpha=4, target_modules=["0"], init_lora_weights=False)
    theirs = peft.get_peft_model(model, config).base_model.model[0]
    a, b = theirs.lora_A["default"].weight, theirs.lora_B["default"].weight
    x = draw(5, 64, seed=1, device=device).requires_grad_()
    ours = lora_linear(x, theirs.base_layer.weight, a, b, theirs.scaling["default"], bias=theirs.base_layer.bias)
    assert torch.allclose(ours, theirs(x), atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(ours.square().sum(), [x, a, b]),
        torch.autograd.grad(theirs(x).square().sum(), [x, a, b]),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_under_autocast_it_is_a_product_like_any(device: str) -> None:
    layer = Layer(4, 32, 64, 8, torch.float32, device, nf4=True)
    with torch.autocast(device, dtype=torch.bfloat16):
        made = lora_linear(layer.x, layer.weight, layer.a, layer.b, 0.5, bias=layer.bias)
    gradient = draw(*made.shape, seed=9, dtype=torch.bfloat16, device=device)
    expected, slopes = layer.exactly(gradient)
    assert made.dtype == torch.bfloat16
    assert error(made, expected) < 1e-2
    for found, slope in zip(torch.autograd.grad(made, layer.leaves, gradient), slopes, strict=True):
        assert found.dtype == torch.float32
        assert error(found, slope) < 1e-2


def test_a_second_derivative_is_refused() -> None:
    layer = Layer(2, 8, 64, 2, torch.float32, "cpu", nf4=False)
    made = lora_linear(layer.x, layer.weight, layer.a, layer.b)
    (gradient,) = torch.autograd.grad(made.square().sum(), layer.a, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()
