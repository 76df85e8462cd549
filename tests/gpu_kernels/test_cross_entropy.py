"""The linear cross entropy against whole logits in float64."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from closeness import TOLERANCE, assert_close, error  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from vocabkit_kernels import linear_cross_entropy, reference  # noqa: E402

pytestmark = pytest.mark.gpu
FLOATS = [torch.float32, torch.float16, torch.bfloat16]
FEATURES: list[dict[str, Any]] = [
    {},
    {"softcap": 5.0},
    {"z_loss": 1e-2},
    {"label_smoothing": 0.1},
    {"softcap": 3.0, "z_loss": 1e-3, "label_smoothing": 0.2, "reduction": "sum"},
    {"ignore_index": 7, "chunk_bytes": 4000},
]


class Inputs:
    """Random inputs; leaves that are trained, and the same in float64."""

    def __init__(
        self, places: int, known: int, count: int, width: int, dtype: torch.dtype, device: str, biased: bool = False
    ) -> None:
        generator = torch.Generator().manual_seed(places + known)

        def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
            return (torch.randn(*shape, generator=generator) * scale).to(dtype).to(device).requires_grad_()

        self.hidden = draw(places, width)
        self.old, self.new = draw(known, width, scale=width**-0.5), draw(count, width, scale=width**-0.5)
        self.biases = {"old_bias": draw(known), "new_bias": draw(count)} if biased else {}
        self.labels = torch.randint(0, known + count, (places,), generator=generator).to(device)
        self.labels[::3] = -100

    @property
    def leaves(self) -> list[torch.Tensor]:
        return [self.hidden, self.old, self.new, *self.biases.values()]

    def run(self, function: Any, **options: Any) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """Return the loss and the gradients of all leaves."""
        loss = function(self.hidden, self.old, self.new, self.labels, **self.biases, **options)
        return loss.detach(), list(torch.autograd.grad(loss, self.leaves, allow_unused=True))

    def exactly(self, **options: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the reference's loss and gradients in float64, of the same stored values."""
        hidden, old, new, *biases = (leaf.detach().double().requires_grad_() for leaf in self.leaves)
        named = dict(zip(self.biases, biases, strict=True))
        loss = reference.linear_cross_entropy(hidden, old, new, self.labels, **named, **options)
        return loss.detach(), list(torch.autograd.grad(loss, [hidden, old, new, *biases]))


@pytest.mark.parametrize("options", FEATURES, ids=lambda options: "+".join(options) or "plain")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("biased", [False, True])
def test_loss_and_every_gradient(
    dtype: torch.dtype, biased: bool, options: dict[str, Any], device: str, route: str
) -> None:
    inputs = Inputs(23, 50, 9, 40, dtype, device, biased)
    inputs.labels[::3] = options.get("ignore_index", -100)
    exact_options = {name: value for name, value in options.items() if name != "chunk_bytes"}
    expected, slopes = inputs.exactly(**exact_options)
    loss, gradients = inputs.run(linear_cross_entropy, train_old=True, **options)
    assert loss.dtype == torch.float32
    assert abs(float(loss) - float(expected)) <= TOLERANCE[dtype] * abs(float(expected))
    if dtype == torch.float32:
        for gradient, slope in zip(gradients, slopes, strict=True):
            assert gradient is not None
            assert_close(gradient, slope)
        return
    # Scores in 16 bits cost PyTorch's own way as much: it is the measure.
    _, plain = inputs.run(reference.linear_cross_entropy, **exact_options)
    for gradient, other, slope in zip(gradients, plain, slopes, strict=True):
        assert gradient is not None
        assert other is not None
        assert gradient.dtype == dtype
        assert error(gradient, slope) <= 1.2 * error(other, slope) + TOLERANCE[dtype]


def test_gradients_by_finite_differences() -> None:
    inputs = Inputs(7, 11, 4, 6, torch.float64, "cpu", biased=True)

    def loss(hidden: Any, old: Any, new: Any, old_bias: Any, new_bias: Any) -> torch.Tensor:
        return linear_cross_entropy(
            hidden, old, new, inputs.labels, old_bias=old_bias, new_bias=new_bias, softcap=2.0, z_loss=0.01,
            label_smoothing=0.1, train_old=True, chunk_bytes=100,
        )  # fmt: skip

    assert torch.autograd.gradcheck(loss, inputs.leaves)


@settings(max_examples=20, deadline=None)
@given(
    places=st.integers(0, 12), known=st.integers(0, 30), count=st.integers(1, 30), width=st.integers(1, 20),
    chunk_bytes=st.sampled_from([1, 500, 1 << 20]),
)  # fmt: skip
def test_any_shape_in_any_chunks(places: int, known: int, count: int, width: int, chunk_bytes: int) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs = Inputs(places, known, count, width, torch.float32, device)
    expected, slopes = inputs.exactly()
    loss, gradients = inputs.run(linear_cross_entropy, train_old=True, chunk_bytes=chunk_bytes)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    for gradient, slope in zip(gradients, slopes, strict=True):
        assert gradient is not None
        assert torch.allclose(gradient.double(), slope, rtol=1e-4, atol=1e-6)


def test_old_rows_get_no_gradient_unless_asked(device: str, route: str) -> None:
    inputs = Inputs(9, 20, 5, 8, torch.float32, device, biased=True)
    _, (hidden, old, new, old_bias, new_bias) = inputs.run(linear_cross_entropy)
    assert old is None
    assert old_bias is None
    _, (hidden_too, _, new_too, _, new_bias_too) = inputs.run(linear_cross_entropy, train_old=True)
    for one, other in ((hidden, hidden_too), (new, new_too), (new_bias, new_bias_too)):
        assert one is not None
        assert torch.equal(one, other)


def test_a_tied_matrix_gets_both_gradients(device: str, route: str) -> None:
    from vocabkit_kernels import split_embedding

    inputs = Inputs(12, 20, 6, 8, torch.float32, device)
    ids = torch.randint(0, 26, (12,), generator=torch.Generator().manual_seed(5)).to(device)

    def loss(embedding: Any, entropy: Any, old: Any, new: Any) -> torch.Tensor:
        found: torch.Tensor = entropy(embedding(ids, old, new), old, new, inputs.labels)
        return found

    (gradient,) = torch.autograd.grad(loss(split_embedding, linear_cross_entropy, inputs.old, inputs.new), inputs.new)
    old, new = inputs.old.detach().double(), inputs.new.detach().double().requires_grad_()
    (slope,) = torch.autograd.grad(loss(reference.split_embedding, reference.linear_cross_entropy, old, new), new)
    assert_close(gradient, slope)


def test_ignored_places_are_not_read(device: str, route: str) -> None:
    inputs = Inputs(9, 20, 5, 8, torch.float32, device)
    with torch.no_grad():
        inputs.hidden[inputs.labels == -100] = float("nan")
    loss, (hidden, _, new) = inputs.run(linear_cross_entropy)
    assert loss.isfinite()
    assert hidden is not None
    assert new is not None
    assert not hidden[inputs.labels == -100].any()
    assert new.isfinite().all()
    inputs.labels[:] = -100
    loss, (hidden, _, new) = inputs.run(linear_cross_entropy)
    assert float(loss) == 0
    assert hidden is not None
    assert not hidden.any()


def test_a_loss_for_every_place(device: str, route: str) -> None:
    inputs = Inputs(12, 20, 5, 8, torch.float32, device)
    with torch.no_grad():
        losses = linear_cross_entropy(
            inputs.hidden.view(3, 4, 8), inputs.old, inputs.new, inputs.labels.view(3, 4), reduction="none"
        )
    expected = reference.linear_cross_entropy(inputs.hidden, inputs.old, inputs.new, inputs.labels, reduction="none")
    assert losses.shape == (3, 4)
    assert torch.allclose(losses.view(-1), expected, atol=1e-5)
    assert not losses.view(-1)[inputs.labels == -100].any()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_scaled_loss_in_float16_keeps_its_gradients(reduction: str, device: str, route: str) -> None:
    inputs = Inputs(4, 6, 3, 8, torch.float16, device)
    inputs.labels[:] = 2
    loss = linear_cross_entropy(inputs.hidden, inputs.old, inputs.new, inputs.labels, reduction=reduction)
    # As a GradScaler does.
    found = torch.autograd.grad(loss * 16384, [inputs.hidden, inputs.new])
    _, slopes = inputs.exactly(reduction=reduction)
    for gradient, slope in zip(found, (slopes[0], slopes[2]), strict=True):
        assert error(gradient, slope * 16384) < 1e-2
    loss = linear_cross_entropy(inputs.hidden, inputs.old, inputs.new, inputs.labels, reduction=reduction)
    (gradient,) = torch.autograd.grad(loss * 1e-4 * 65536, inputs.new)
    assert error(gradient, slopes[2] * 6.5536) < 1e-2


def test_an_id_that_is_ruled_out_has_no_probability(device: str, route: str) -> None:
    inputs = Inputs(5, 20, 5, 8, torch.float32, device, biased=True)
    inputs.labels[:] = 3
    with torch.no_grad():
        inputs.biases["old_bias"][0] = -float("inf")
        inputs.biases["new_bias"][:] = -float("inf")
    loss, gradients = inputs.run(linear_cross_entropy)
    expected, slopes = inputs.exactly()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert gradients[0] is not None
    assert_close(gradients[0], slopes[0])


def test_under_autocast_it_is_a_product_like_any(device: str, route: str) -> None:
    inputs = Inputs(9, 20, 5, 8, torch.float32, device)
    with torch.autocast(device, dtype=torch.bfloat16):
        loss, (hidden, _, new) = inputs.run(linear_cross_entropy)
    expected, slopes = inputs.exactly()
    assert float(loss) == pytest.approx(float(expected), rel=2e-2)
    assert hidden is not None
    assert new is not None
    assert hidden.dtype == new.dtype == torch.float32
    assert error(hidden, slopes[0]) < 5e-2
    assert error(new, slopes[2]) < 5e-2


def test_a_second_derivative_is_refused() -> None:
    inputs = Inputs(5, 20, 5, 8, torch.float32, "cpu")
    loss = linear_cross_entropy(inputs.hidden, inputs.old, inputs.new, inputs.labels)
    (gradient,) = torch.autograd.grad(loss, inputs.hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(gradient.square().sum(), inputs.hidden)


def test_great_scores_do_not_overflow(device: str, route: str) -> None:
    hidden = torch.full((2, 4), 300.0, device=device, requires_grad=True)
    rows = torch.tensor([[300.0] * 4, [-300.0] * 4], device=device)
    labels = torch.tensor([0, 1], device=device)
    for softcap in (None, 30.0):
        loss = linear_cross_entropy(hidden, rows, -rows, labels, softcap=softcap)
        (gradient,) = torch.autograd.grad(loss, hidden)
        assert loss.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("wrong", [-1, 25, 2**40])
def test_a_label_out_of_range_is_an_error(wrong: int, route: str) -> None:
    inputs = Inputs(6, 20, 5, 8, torch.float32, "cpu")
    inputs.labels[1] = wrong
    with pytest.raises(IndexError, match=f"labels {wrong} is not from 0 to 24"):
        inputs.run(linear_cross_entropy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reduction": "max"}, "not one of mean, sum, none"),
        ({"reduction": "none"}, "gives no gradients"),
        ({"softcap": 0.0}, "not above 0"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, "do not fit"),
        ({"hidden": torch.zeros(6, 8, dtype=torch.float16)}, "cast one of them"),
        ({"new_rows": torch.zeros(5, 9)}, "no common width"),
        ({"old_bias": torch.zeros(1)}, r"bias of \[1\] does not fit 20 rows"),
        ({"new_bias": torch.zeros(20)}, r"bias of \[20\] does not fit 5 rows"),
        ({"label_smoothing": 1.5}, "from 0 to 1"),
    ],
)
def test_bad_input_is_one_clear_line(change: dict[str, Any], message: str) -> None:
    inputs = Inputs(6, 20, 5, 8, torch.float32, "cpu")
    given = {"hidden": inputs.hidden, "old_rows": inputs.old, "new_rows": inputs.new, "labels": inputs.labels}
    with pytest.raises(ValueError, match=message):
        linear_cross_entropy(**(given | change))


def test_labels_are_integers(device: str, route: str) -> None:
    inputs = Inputs(6, 20, 5, 8, torch.float32, device)
    expected, _ = inputs.run(linear_cross_entropy)
    inputs.labels = inputs.labels.int()
    assert torch.equal(inputs.run(linear_cross_entropy)[0], expected)
    inputs.labels = inputs.labels.float()
    with pytest.raises(TypeError, match="not integers"):
        inputs.run(linear_cross_entropy)


def test_hidden_states_in_any_strides(device: str, route: str) -> None:
    inputs = Inputs(6, 10, 5, 8, torch.float32, device)
    turned = inputs.hidden.detach().t().contiguous().t().requires_grad_()
    arguments = (
        turned,
        inputs.old,
        inputs.new,
        inputs.labels,
        None,
        None,
        -100,
        0.0,
        0.0,
        0.0,
        "mean",
        True,
        True,
        300,
    )
    operator = torch.ops.vocabkit.linear_cross_entropy.default
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


def test_the_operator_is_what_torch_expects(device: str, route: str) -> None:
    inputs = Inputs(6, 10, 5, 8, torch.float32, device, biased=True)
    arguments = (
        inputs.hidden, inputs.old, inputs.new, inputs.labels, inputs.biases["old_bias"], inputs.biases["new_bias"],
        -100, 2.0, 1e-3, 0.1, "mean", True, True, 300,
    )  # fmt: skip
    operator = torch.ops.vocabkit.linear_cross_entropy.default
    # Gradients come ready with the loss, and the other outputs have none: what autograd needs is tested above.
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))
    compiled = torch.compile(linear_cross_entropy, fullgraph=True, backend="aot_eager")
    _, gradients = inputs.run(compiled)
    _, expected = inputs.run(linear_cross_entropy)
    for gradient, other in zip(gradients, expected, strict=True):
        assert (gradient is None) == (other is None)
        assert gradient is None or torch.equal(gradient, other)


@pytest.mark.skipif(torch.cuda.is_available(), reason="measures the memory of a process")
def test_the_logits_never_exist_at_once() -> None:
    code = """
import resource
import torch
from vocabkit_kernels import linear_cross_entropy
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
hidden, old, new = (torch.randn(rows, 32, requires_grad=True) for rows in (4096, 30_000, 2_000))
labels = torch.randint(0, 32_000, (4096,))
linear_cross_entropy(hidden[:8], old, new, labels[:8], chunk_bytes=1 << 24).backward()
before = peak()
linear_cross_entropy(hidden, old, new, labels, chunk_bytes=1 << 24).backward()
print(peak() - before)
"""
    environment = os.environ | {"VOCABKIT_KERNELS": "torch"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    # All of them would take 524 MB, and once more their gradient.
    assert int(done.stdout) < 150e6
