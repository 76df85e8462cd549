"""RowAdamW against torch.optim.AdamW."""

from __future__ import annotations

import io
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from vocabkit_kernels import RowAdamW  # noqa: E402

pytestmark = pytest.mark.gpu
SETTINGS: dict[str, Any] = {"lr": 1e-2, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}


def draw(seed: int, device: str, dtype: torch.dtype = torch.float32, rows: int = 7) -> torch.Tensor:
    return torch.randn(rows, 33, generator=torch.Generator().manual_seed(seed)).to(dtype).to(device)


def trained(optimizer: type, steps: int, device: str, **options: Any) -> torch.Tensor:
    rows = torch.nn.Parameter(draw(0, device))
    with_options = optimizer([rows], **SETTINGS, **options)
    for step in range(steps):
        rows.grad = draw(step + 1, device)
        with_options.step()
    return rows.detach()


def test_dense_rows_are_torch_s_adamw(device: str, route: str) -> None:
    ours = trained(RowAdamW, 5, device)
    theirs = trained(torch.optim.AdamW, 5, device, foreach=False)
    if route == "torch":
        assert torch.equal(ours, theirs)
    else:
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_rows_follow_a_float32_copy(dtype: torch.dtype, device: str, route: str) -> None:
    rows = torch.nn.Parameter(draw(0, device, dtype))
    exact = torch.nn.Parameter(rows.detach().float())
    ours = RowAdamW([rows], **SETTINGS | {"lr": 1e-5})
    theirs = torch.optim.AdamW([exact], **SETTINGS | {"lr": 1e-5})
    for step in range(200):
        gradient = draw(step % 3, device, dtype).abs()
        rows.grad, exact.grad = gradient, gradient.float()
        ours.step()
        theirs.step()
    assert torch.allclose(ours.state[rows]["master"], exact, rtol=1e-5, atol=1e-7)
    # Every step alone is lost when it is rounded; together they are not.
    assert not torch.equal(rows.detach(), draw(0, device, dtype))
    nearest = ours.state[rows]["master"].to(dtype)
    assert torch.equal(rows.detach(), nearest) or (device == "cpu" and route == "triton")
    assert ((rows.detach() - nearest).abs() <= nearest.abs() * 2**-7).all()


def test_lazy_rows_rest_until_they_are_hit(device: str, route: str) -> None:
    start = draw(0, device)
    rows = torch.nn.Parameter(start.clone())
    ours = RowAdamW([rows], **SETTINGS, mode="lazy")
    alone = torch.nn.Parameter(start[[2]].clone())
    theirs = torch.optim.AdamW([alone], **SETTINGS)
    for step in range(6):
        gradient = torch.zeros_like(rows)
        if step % 2:
            gradient[2] = draw(step, device)[2]
            alone.grad = gradient[[2]]
            theirs.step()
        rows.grad = gradient
        ours.step()
    rest = [i for i in range(7) if i != 2]
    assert torch.equal(rows.detach()[rest], start[rest])
    assert torch.allclose(rows.detach()[[2]], alone, rtol=1e-5, atol=1e-6)
    assert ours.state[rows]["step"].tolist() == [0, 0, 3, 0, 0, 0, 0]


@pytest.mark.parametrize("mode", ["dense-rows", "lazy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_state_goes_on_as_if_nothing_had_been(mode: str, dtype: torch.dtype, device: str, route: str) -> None:
    def run(stop: int | None) -> torch.Tensor:
        rows = torch.nn.Parameter(draw(0, device, dtype))
        optimizer = RowAdamW([rows], **SETTINGS, mode=mode)
        for step in range(6):
            if step == stop:
                saved = io.BytesIO()
                torch.save((rows.detach(), optimizer.state_dict()), saved)
                saved.seek(0)
                values, state = torch.load(saved)
                rows = torch.nn.Parameter(values)
                optimizer = RowAdamW([rows], mode=mode)
                optimizer.load_state_dict(state)
                assert dtype == torch.float32 or optimizer.state[rows]["master"].dtype == torch.float32
            rows.grad = draw(step + 1, device, dtype)
            optimizer.step()
        return rows.detach()

    assert torch.equal(run(None), run(3))


def test_state_is_kept_for_new_rows_alone(device: str) -> None:
    rows = torch.nn.Parameter(draw(0, device, torch.bfloat16))
    rows.grad = draw(1, device, torch.bfloat16)
    optimizer = RowAdamW([rows])
    optimizer.step()
    assert sum(value.nbytes for value in optimizer.state[rows].values()) == 12 * rows.numel() + 4


def test_a_closure_and_parameters_without_gradient(device: str) -> None:
    rows, other = torch.nn.Parameter(draw(0, device)), torch.nn.Parameter(draw(1, device))
    optimizer = RowAdamW([rows, other])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = rows.square().sum()
        loss.backward()
        return loss

    first, second = (float(optimizer.step(closure).detach()) for _ in range(2))
    assert second < first
    assert torch.equal(other.detach(), draw(1, device))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "sparse"}, "dense-rows, lazy"),
        ({"lr": -1.0}, "lr -1"),
        ({"betas": (0.9, 1.0)}, r"betas \(0.9, 1.0\) below 1"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RowAdamW([torch.nn.Parameter(torch.zeros(2, 2))], **options)


def test_only_matrices_have_rows() -> None:
    with pytest.raises(ValueError, match=r"shape \[3\] is no matrix"):
        RowAdamW([torch.nn.Parameter(torch.zeros(3))])


@pytest.mark.parametrize("mode", ["dense-rows", "lazy"])
def test_betas_near_one_lose_no_digits(mode: str, device: str, route: str) -> None:
    start = draw(0, device)
    rows, exact = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.cpu().double())
    settings = SETTINGS | {"betas": (0.99, 0.9999), "weight_decay": 0.0}
    ours, theirs = RowAdamW([rows], **settings, mode=mode), torch.optim.AdamW([exact], **settings)
    for step in range(3):
        rows.grad = draw(step + 1, device)
        exact.grad = rows.grad.cpu().double()
        ours.step()
        theirs.step()
    moved, expected = rows.detach().cpu().double() - start.cpu().double(), exact.detach() - start.cpu().double()
    assert float((moved - expected).norm() / expected.norm()) < 2e-5


def test_rows_that_somebody_else_wrote_are_trained_on(device: str, route: str) -> None:
    rows = torch.nn.Parameter(draw(0, device, torch.bfloat16))
    optimizer = RowAdamW([rows], lr=1e-3)
    rows.grad = torch.ones_like(rows)
    optimizer.step()
    with torch.no_grad():
        rows.fill_(5.0)
    optimizer.step()
    assert (rows.detach().float() - 5).abs().max() < 0.05


def test_a_float32_state_goes_on_in_16_bits(device: str, route: str) -> None:
    exact = torch.nn.Parameter(draw(0, device))
    first = torch.optim.AdamW([exact], **SETTINGS)
    exact.grad = draw(1, device)
    first.step()
    rows = torch.nn.Parameter(exact.detach().to(torch.bfloat16))
    ours = RowAdamW([rows], **SETTINGS)
    ours.load_state_dict(first.state_dict())
    rows.grad = draw(2, device, torch.bfloat16)
    ours.step()
    assert ours.state[rows]["master"].dtype == ours.state[rows]["exp_avg"].dtype == torch.float32
    assert float(ours.state[rows]["step"]) == 2
    assert ours.state[rows]["step"].device.type == "cpu"


def test_a_state_without_a_mode_keeps_the_one_that_was_chosen(device: str) -> None:
    rows = torch.nn.Parameter(draw(0, device))
    first = torch.optim.AdamW([rows], **SETTINGS)
    rows.grad = draw(1, device)
    first.step()
    ours = RowAdamW([rows], **SETTINGS, mode="lazy")
    ours.load_state_dict(first.state_dict())
    rows.grad = torch.zeros_like(rows)
    rows.grad[2] = 1
    ours.step()
    assert ours.state[rows]["step"].tolist() == [1, 1, 2, 1, 1, 1, 1]


def test_every_group_is_checked(device: str) -> None:
    rows = torch.nn.Parameter(draw(0, device))
    optimizer = RowAdamW([rows])
    for group, message in (
        ({"params": [torch.nn.Parameter(torch.zeros(2, 3, 4))]}, "no matrix"),
        ({"params": [torch.nn.Parameter(torch.zeros(2, 3))], "mode": "Lazy"}, "dense-rows, lazy"),
        ({"params": [torch.nn.Parameter(torch.zeros(2, 3))], "betas": (0.9, 1.0)}, r"betas \(0.9, 1.0\) below 1"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1
    with pytest.raises(ValueError, match="amsgrad"):
        optimizer.load_state_dict(torch.optim.AdamW([rows], amsgrad=True).state_dict())
