"""The split embedding against one whole matrix."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from closeness import assert_close  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from vocabkit_kernels import reference, split_embedding  # noqa: E402

pytestmark = pytest.mark.gpu
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def rows(count: int, width: int, dtype: torch.dtype, device: str, seed: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).to(dtype).to(device)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("known", "count", "width"), [(50, 7, 40), (50, 0, 33), (3, 60, 1), (0, 5, 8)])
def test_rows_and_gradients_are_those_of_one_matrix(
    known: int, count: int, width: int, dtype: torch.dtype, device: str, route: str
) -> None:
    if route == "triton" and dtype == torch.float64:
        pytest.skip("kernels compute in float32")
    ids = torch.randint(0, known + count, (4, 9), generator=torch.Generator().manual_seed(2)).to(device)
    old, new = rows(known, width, dtype, device, 0), rows(count, width, dtype, device, 1).requires_grad_()
    made = split_embedding(ids, old, new)
    assert torch.equal(made, reference.split_embedding(ids, old, new))
    gradient = rows(36, width, dtype, device, 3).view(4, 9, width)
    made.backward(gradient)
    exact = new.detach().double().requires_grad_()
    reference.split_embedding(ids, old.double(), exact).backward(gradient.double())
    assert new.grad is not None
    assert exact.grad is not None
    assert_close(new.grad, exact.grad)


@settings(max_examples=25, deadline=None)
@given(
    known=st.integers(0, 20), count=st.integers(1, 20), width=st.integers(1, 70),
    shape=st.lists(st.integers(0, 6), max_size=3), data=st.data(),
)  # fmt: skip
def test_any_shape(known: int, count: int, width: int, shape: list[int], data: st.DataObject) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Few different ids: most of them repeat, as in text.
    ids = torch.randint(
        0, known + count, shape, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 9)))
    )
    ids = ids.to(device)
    old, new = rows(known, width, torch.float32, device, 0), rows(count, width, torch.float32, device, 1)
    new.requires_grad_()
    made = split_embedding(ids, old, new)
    assert torch.equal(made, reference.split_embedding(ids, old, new))
    (grad,) = torch.autograd.grad(made.square().sum(), new)
    (expected,) = torch.autograd.grad(reference.split_embedding(ids, old, new).square().sum(), new)
    assert torch.allclose(grad, expected, rtol=1e-5, atol=1e-5)


def test_parts_of_a_larger_matrix_need_no_copy(device: str, route: str) -> None:
    whole = rows(30, 24, torch.float32, device, 0)
    ids = torch.arange(20, device=device)
    made = split_embedding(ids, whole[:12, :16], whole[12:, 4:20])
    assert torch.equal(made, torch.cat([whole[:12, :16], whole[12:20, 4:20]]))


def test_the_same_gradient_at_every_run(device: str, route: str) -> None:
    ids = torch.randint(90, 100, (400,), generator=torch.Generator().manual_seed(0)).to(device)
    old, gradient = rows(90, 64, torch.bfloat16, device, 0), rows(400, 64, torch.bfloat16, device, 2)
    found = []
    for _ in range(2):
        new = rows(10, 64, torch.bfloat16, device, 1).requires_grad_()
        split_embedding(ids, old, new).backward(gradient)
        found.append(new.grad)
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("wrong", [-1, 12, 2**40])
def test_an_id_out_of_range_is_an_error(wrong: int, route: str) -> None:
    ids = torch.tensor([3, wrong])
    with pytest.raises(IndexError, match=f"ids {wrong} is not from 0 to 11"):
        split_embedding(ids, torch.zeros(10, 4), torch.zeros(2, 4))


def test_rows_that_do_not_fit_are_refused() -> None:
    ids = torch.tensor([0])
    with pytest.raises(ValueError, match="no common width"):
        split_embedding(ids, torch.zeros(3, 4), torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r"float32.*float16"):
        split_embedding(ids, torch.zeros(3, 4), torch.zeros(3, 4, dtype=torch.float16))
    with pytest.raises(TypeError, match="not integers"):
        split_embedding(ids.float(), torch.zeros(3, 4), torch.zeros(3, 4))


def test_the_operator_is_what_torch_expects(device: str, route: str) -> None:
    ids = torch.tensor([[1, 5, 5], [0, 6, 2]], device=device)
    old, new = rows(5, 8, torch.float32, device, 0), rows(2, 8, torch.float32, device, 1).requires_grad_()
    torch.library.opcheck(torch.ops.vocabkit.split_embedding.default, (ids, old, new))
    torch.library.opcheck(
        torch.ops.vocabkit.split_embedding_backward.default, (rows(6, 8, old.dtype, device, 2), ids, 5, 2)
    )
    compiled = torch.compile(split_embedding, fullgraph=True, backend="aot_eager")
    (grad,) = torch.autograd.grad(compiled(ids, old, new).square().sum(), new)
    (expected,) = torch.autograd.grad(split_embedding(ids, old, new).square().sum(), new)
    assert torch.equal(grad, expected)
