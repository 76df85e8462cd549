"""A model's vocabulary as frozen rows and trainable ones: its embedding, its head and its loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from vocabkit_kernels import linear_cross_entropy, split_embedding

from vocabkit.errors import CheckpointError


class SplitRows(nn.Module):
    """A matrix of rows, of which those from `first` on may train.

    old: [first, width], frozen.  new: [rows - first, width].  bias: [rows] of a head, frozen.
    """

    def __init__(self, weight: Tensor, first: int, trains: bool, bias: Tensor | None = None) -> None:
        super().__init__()
        rows = weight.detach()
        # Copies: a view would keep the whole matrix, and a tied one would be split twice.
        self.old = nn.Parameter(rows[:first].clone(), requires_grad=False)
        self.new = nn.Parameter(rows[first:].clone(), requires_grad=trains)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    @property
    def biases(self) -> tuple[Tensor | None, Tensor | None]:
        """The bias of the old rows, and of the new."""
        if self.bias is None:
            return None, None
        return self.bias[: len(self.old)], self.bias[len(self.old) :]


class SplitEmbedding(nn.Module):
    """Rows of ids, [*, width], times `scale` where a model has one."""

    def __init__(self, rows: SplitRows, scale: Tensor | float = 1.0) -> None:
        super().__init__()
        self.rows = rows
        self.scale = scale

    @property
    def weight(self) -> Tensor:
        """The whole matrix; what models ask for its type and its place."""
        return torch.cat([self.rows.old, self.rows.new])

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of `ids`."""
        found = split_embedding(ids, self.rows.old, self.rows.new)
        return found if isinstance(self.scale, float) and self.scale == 1.0 else found * self.scale


class SplitHead(nn.Module):
    """Logits over all rows, [*, rows]; training takes `loss` instead, where they never exist at once."""

    def __init__(self, rows: SplitRows) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the logits."""
        old, new = self.rows.biases
        parts = [nn.functional.linear(hidden, self.rows.old, old), nn.functional.linear(hidden, self.rows.new, new)]
        return torch.cat(parts, -1)

    def loss(self, hidden: Tensor, labels: Tensor, softcap: float | None) -> Tensor:
        """Return the sum of -log p over the labels that are not -100."""
        old, new = self.rows.biases
        return linear_cross_entropy(
            hidden, self.rows.old, self.rows.new, labels, old_bias=old, new_bias=new, softcap=softcap, reduction="sum"
        )


def split_vocabulary(model: Any, first: int, matrices: str) -> tuple[SplitRows, SplitRows]:
    """Put split rows into a model in place of its embedding and its head; return both, one object when tied.

    first: the row from which on they train.  matrices: "both", "input", "head", or "none" for nothing that trains.
    Raises CheckpointError for a model whose embedding or head is of a kind that is not known, and for one matrix of a
    tied model.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not isinstance(embedding, nn.Embedding) or not isinstance(head, nn.Linear):
        raise CheckpointError(
            f"{type(model).__name__} has a {type(embedding).__name__} and a {type(head).__name__}; only an embedding "
            f"and a linear head can be trained"
        )
    scale = getattr(embedding, "embed_scale", 1.0)
    if type(embedding) is not nn.Embedding and not hasattr(embedding, "embed_scale"):
        raise CheckpointError(f"{type(embedding).__name__} is no embedding that is known; it cannot be trained")
    tied = head.weight is embedding.weight
    if tied and matrices in ("input", "head"):
        raise CheckpointError(
            f"the model is tied, its input and its head are one matrix; --matrices {matrices} cannot be"
        )
    rows = SplitRows(embedding.weight, first, matrices in ("both", "input"), head.bias if tied else None)
    head_rows = rows if tied else SplitRows(head.weight, first, matrices in ("both", "head"), head.bias)
    model.set_input_embeddings(SplitEmbedding(rows, scale))
    model.set_output_embeddings(SplitHead(head_rows))
    return rows, head_rows
