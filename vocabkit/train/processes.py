"""One process or many: started by torchrun or accelerate, with torch's own DDP and FSDP2."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from vocabkit.errors import VocabkitError
from vocabkit.train.trainee import Trainee

STRATEGIES = ("ddp", "fsdp")
T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a run.  rank, world: this one's number, and how many.  local: its number on this machine.

    strategy: "ddp" holds the whole model in each, "fsdp" a share of every parameter.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    device: str = "cpu"
    strategy: str = "ddp"

    @property
    def is_first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def wrap(self, trainee: Trainee) -> nn.Module:
        """Return what is called in training."""
        if self.world == 1:
            return trainee
        if self.strategy == "ddp":
            ids = [int(self.device.partition(":")[2])] if self.device.startswith("cuda") else None
            return nn.parallel.DistributedDataParallel(trainee, device_ids=ids, broadcast_buffers=False)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.partition(":")[0], (self.world,))
        for layer in _layers(trainee):
            fully_shard(layer, mesh=mesh)
        fully_shard(trainee, mesh=mesh)
        return trainee

    @contextmanager
    def accumulating(self, module: nn.Module, is_last: bool) -> Iterator[None]:
        """Leave gradients where they are until the last pass of a step."""
        if self.world > 1 and self.strategy == "ddp":
            assert isinstance(module, nn.parallel.DistributedDataParallel)
            with nullcontext() if is_last else module.no_sync():
                yield
            return
        if self.world > 1:
            module.set_requires_gradient_sync(is_last)  # type: ignore[operator]
        yield

    def summed(self, values: Sequence[float]) -> list[float]:
        """Return the sums of `values` over all processes."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        found: list[float] = total.tolist()
        return found

    def told(self, value: Callable[[], T]) -> T:
        """Return what `value` gives in the first process, which alone calls it."""
        if self.world == 1:
            return value()
        found: list[T | None] = [value() if self.is_first else None]
        torch.distributed.broadcast_object_list(found, device=torch.device(self.device))
        return cast(T, found[0])

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is set in any process."""
        return self.summed([float(flag)])[0] > 0

    def barrier(self) -> None:
        """Wait for the others."""
        if self.world > 1:
            torch.distributed.barrier()


@contextmanager
def joined(device: str | None, strategy: str) -> Iterator[Processes]:
    """Yield this run's processes, as torchrun's environment says; alone without one.

    Raises VocabkitError for a strategy that is not known.
    """
    if strategy not in STRATEGIES:
        raise VocabkitError(f"strategy {strategy!r} is not one of {', '.join(STRATEGIES)}")
    rank, world, local = (int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if world <= 1:
        yield Processes(device=kind)
        return
    if kind == "cuda":
        kind = f"cuda:{local}"
        torch.cuda.set_device(local)
    torch.distributed.init_process_group("nccl" if kind.startswith("cuda") else "gloo")
    try:
        yield Processes(rank, world, local, kind, strategy)
    finally:
        torch.distributed.destroy_process_group()


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor of which a process may hold a share; every process must ask."""
    found: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return found


def put(target: Tensor, values: Tensor) -> None:
    """Write all values into a tensor of which a process may hold a share."""
    with torch.no_grad():
        from torch.distributed.tensor import DTensor, distribute_tensor

        if isinstance(target, DTensor):
            values = distribute_tensor(values.to(target.device), target.device_mesh, target.placements)
        target.copy_(values)


def _layers(trainee: Trainee) -> list[Any]:
    """Return the decoder's layers, each a unit that is gathered and freed."""
    for module in trainee.model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) > 1:
            return list(module)
    return []
