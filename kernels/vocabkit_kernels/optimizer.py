"""AdamW for new rows alone, with a master copy in float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from vocabkit_kernels.backend import on_device_of, use_triton

MODES = ("dense-rows", "lazy")


class RowAdamW(torch.optim.Optimizer):
    """AdamW over matrices of rows [dV, width].

    Rows in 16 bits are trained through a float32 copy: a step of 1e-5 of a value is lost when bfloat16 rounds it.
    mode: "dense-rows" is torch.optim.AdamW on these rows, bit for bit in float32 by the PyTorch route.  "lazy"
        touches only rows whose gradient is not all 0: the others keep their moments and are not decayed, and each
        row corrects its bias by its own number of steps.
    A master copy, two moments and (lazy) a step for every row: 12 bytes a value, for new rows instead of all.
    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    Raises ValueError for settings that make no sense, and for parameters that are no matrices.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        mode: str = "dense-rows",
    ) -> None:
        # The version of each parameter when its master copy was last written to it.
        self._versions: dict[Tensor, int] = {}
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "mode": mode})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; raises ValueError for settings that make no sense, and for parameters that are no matrices."""
        super().add_param_group(param_group)
        try:
            _check(self.param_groups[-1])
        except ValueError:
            self.param_groups.pop()
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was pickled or copied."""
        super().__setstate__(state)
        self._versions = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step for every parameter that has a gradient; return what `closure` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned; unlike torch's own, states keep float32 beside 16-bit parameters.

        A state of torch.optim.AdamW is taken too.  Raises ValueError for settings that make no sense.
        """
        super().load_state_dict(state_dict)
        self._versions.clear()
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.setdefault("mode", self.defaults["mode"])
            _check(group)
            for parameter, number in zip(group["params"], saved["params"], strict=True):
                for name, value in state_dict["state"].get(number, {}).items():
                    if name == "step":
                        lazy = group["mode"] == "lazy"
                        steps = value.to(parameter.device if lazy else "cpu", torch.float32, copy=True)
                        self.state[parameter][name] = steps.expand(len(parameter)).clone() if lazy else steps
                    elif torch.is_tensor(value):
                        # In the parameter's own strides, which the kernel takes all of them to have.
                        kept = torch.empty_like(parameter, dtype=value.dtype)
                        self.state[parameter][name] = kept.copy_(value)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self._state_of(parameter, lazy=group["mode"] == "lazy")
        rows = None
        if group["mode"] == "lazy":
            rows = (gradient != 0).any(1)
            state["step"] += rows
        else:
            state["step"] += 1
        master = state.get("master", parameter)
        if use_triton(parameter, gradient) and parameter.is_contiguous():
            from vocabkit_kernels.jit.optimizer import launch

            with on_device_of(parameter):
                shares = {name: _local(value) for name, value in state.items()}
                hit = None if rows is None else _local(rows)
                launch(_local(parameter), _local(master), _local(gradient), shares, hit, group)
        else:
            _step(master, gradient.to(master.dtype), state, rows, group)
            if master is not parameter:
                parameter.copy_(master)
        self._versions[parameter] = parameter._version

    def _state_of(self, parameter: Tensor, *, lazy: bool) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        exact = torch.promote_types(parameter.dtype, torch.float32)
        if not state:
            shape = (len(parameter),) if lazy else ()
            state["step"] = torch.zeros(shape, dtype=torch.float32, device=parameter.device if lazy else "cpu")
            state["exp_avg"] = torch.zeros_like(parameter, dtype=exact)
            state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=exact)
        if parameter.dtype == exact:
            state.pop("master", None)
        elif "master" not in state:
            state["master"] = parameter.detach().to(exact, copy=True)
        elif self._versions.get(parameter, parameter._version) != parameter._version:
            # Somebody else wrote to the rows: they are what is trained on, not the copy.
            state["master"].copy_(parameter)
        return state


def _local(tensor: Tensor) -> Tensor:
    """Return this process's share of a tensor that several hold (FSDP2), in the same memory."""
    share: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return share


def _check(group: dict[str, Any]) -> None:
    mode, lr, betas, eps, decay = (group[name] for name in ("mode", "lr", "betas", "eps", "weight_decay"))
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is not one of {', '.join(MODES)}")
    if lr < 0 or eps < 0 or decay < 0 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(
            f"lr {lr}, eps {eps} and weight_decay {decay} must not be negative, and betas {betas} below 1"
        )
    if group.get("amsgrad") or group.get("maximize"):
        raise ValueError("amsgrad and maximize are not supported; use torch.optim.AdamW for them")
    wrong = next((parameter for parameter in group["params"] if parameter.dim() != 2), None)
    if wrong is not None:
        raise ValueError(f"a parameter of shape {list(wrong.shape)} is no matrix of rows")


def corrections(steps: Tensor, betas: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return 1 - beta^step of every row, [dV] float32 each, without cancellation."""
    logs = [math.log(beta) if beta else -math.inf for beta in betas]
    first, second = (-torch.expm1(steps.double() * log) for log in logs)
    return first.float(), second.float()


def _step(
    master: Tensor, gradient: Tensor, state: dict[str, Tensor], rows: Tensor | None, group: dict[str, Any]
) -> None:
    lr, (beta1, beta2) = group["lr"], group["betas"]
    first, second = state["exp_avg"], state["exp_avg_sq"]
    if rows is None:
        step = float(state["step"])
        whole1, whole2 = 1 - beta1**step, 1 - beta2**step
        master.mul_(1 - lr * group["weight_decay"])
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        size = (second.sqrt() / whole2**0.5).add_(group["eps"])
        master.addcdiv_(first, size, value=-lr / whole1)
        return
    hit = rows.nonzero()[:, 0]
    correction1, correction2 = (
        part[:, None].to(master.dtype) for part in corrections(state["step"][hit], group["betas"])
    )
    seen = gradient[hit]
    mean = first[hit].lerp_(seen, 1 - beta1)
    square = second[hit].mul_(beta2).addcmul_(seen, seen, value=1 - beta2)
    size = (square / correction2).sqrt_() + group["eps"]
    master[hit] = master[hit] * (1 - lr * group["weight_decay"]) - lr * mean / correction1 / size
    first[hit], second[hit] = mean, square
