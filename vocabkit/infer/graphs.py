"""Decoding with tensors that stay where they are, so that a GPU can repeat a step as one recorded graph.

A small model on a fast GPU spends its time on launching kernels: some hundred for every token.  A recorded step is
launched once.  What it needs: the same tensors, the same shapes, and nothing that is decided on the CPU in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from vocabkit.infer.cache import Cache, Pass

# Keys are read up to a multiple of this, so that a text needs a new graph only now and then.
KEYS_STEP = 256
WARM_UPS = 2

Compute = Callable[[Pass, Tensor], Tensor]


class FixedPass(Pass):
    """A pass of one token of every row, whose starts are read from a tensor when it runs.

    keys: places that are attended to, most of them masked.
    """

    def __init__(self, cache: Cache, batch: int, keys: int, device: Any) -> None:
        super().__init__(cache, 0, [0] * batch, 1, device)
        self.even, self.keys = None, keys
        self._row = torch.arange(batch, device=device)[:, None]

    def refresh(self) -> None:
        """Compute anew what follows from the starts; the first thing of every run."""
        self._masks.clear()
        self._place = self.starts[:, None]


class Step:
    """One token of up to `batch` texts, `keys` places deep; recorded on a GPU, and run as it is elsewhere."""

    def __init__(self, compute: Compute, cache: Cache, batch: int, keys: int, device: Any) -> None:
        self._pass = FixedPass(cache, batch, keys, device)
        self._ids = torch.zeros(batch, 1, dtype=torch.long, device=device)
        self._compute = compute
        self._idle = cache.places - 1
        self._graph: Any = None
        self._logits: Tensor | None = None
        if self._ids.is_cuda:
            # Kernels that are compiled or chosen at their first run cannot be recorded.  What cannot be recorded at
            # all, experts that are chosen on the CPU for example, runs as it is.
            with suppress(RuntimeError):
                self._record()

    def run(self, ids: Sequence[int], starts: Sequence[int]) -> Tensor:
        """Return the logits after each text's token, [len(ids), V]; they stand until the next run.

        Rows without a text write where no text ever is: the last place of the cache.
        """
        spare = len(self._ids) - len(ids)
        self._ids.copy_(torch.tensor([*ids, *[0] * spare])[:, None])
        self._pass.starts.copy_(torch.tensor([*starts, *[self._idle] * spare]))
        if self._graph is not None and self._logits is not None:
            self._graph.replay()
            return self._logits[: len(ids)]
        return self._once()[: len(ids)]

    def _once(self) -> Tensor:
        self._pass.refresh()
        return self._compute(self._pass, self._ids)

    def _record(self) -> None:
        self._pass.starts.fill_(self._idle)
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._once()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._once()
        self._graph, self._logits = graph, logits


class Steps:
    """The steps of one cache, a recorded one for each power of two of texts and each depth."""

    def __init__(self, compute: Compute, cache: Cache, device: Any) -> None:
        self._compute, self._cache, self._device = compute, cache, device
        self._made: dict[tuple[int, int], Step] = {}
        self._where = 0

    def run(self, ids: Sequence[int], starts: Sequence[int]) -> Tensor:
        """Return the logits after one token of the texts in the first rows, [len(ids), V]."""
        batch = 1 << (len(ids) - 1).bit_length()
        self._cache.fit(batch, max(starts) + 1)
        where = self._cache.keys[0].data_ptr()
        if where != self._where:
            # The cache grew: what was recorded points to where it was.
            self._made, self._where = {}, where
        keys = min(-(-(max(starts) + 1) // KEYS_STEP) * KEYS_STEP, self._cache.places)
        if (batch, keys) not in self._made:
            self._made[batch, keys] = Step(self._compute, self._cache, batch, keys, self._device)
        return self._made[batch, keys].run(ids, starts)
