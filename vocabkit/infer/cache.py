"""Keys and values of the texts that are being written, and the attention that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# transformers finds our attention by this name.
NAME = "vocabkit"
# Room for keys grows by so many places.
STEP = 64


class Cache:
    """Keys and values of every layer, [rows, heads, places, width]; a row is a text, and a place a token of it.

    Rows stay where they are, so that the rows of one pass are a view and nothing is gathered.
    """

    def __init__(self, layers: int, heads: int, width: int, dtype: torch.dtype, device: Any) -> None:
        self._shape, self._how = (heads, width), {"dtype": dtype, "device": device}
        self.rows, self.places = 0, 0
        # What decodes in this cache with tensors that stay where they are.
        self.steps: Any = None
        self.keys: list[Tensor] = [torch.empty(0, heads, 0, width, **self._how) for _ in range(layers)]
        self.values: list[Tensor] = [torch.empty(0, heads, 0, width, **self._how) for _ in range(layers)]

    @torch.inference_mode()
    def fit(self, rows: int, places: int) -> None:
        """Make room for so many rows of so many places, and one that no text reaches; what is there stays."""
        places = -(-(places + 1) // STEP) * STEP
        if rows <= self.rows and places <= self.places:
            return
        rows, places = max(rows, self.rows), max(places, self.places)
        heads, width = self._shape
        for held in (self.keys, self.values):
            for layer, old in enumerate(held):
                new = torch.zeros(rows, heads, places, width, **self._how)
                new[: self.rows, :, : self.places] = old
                held[layer] = new
        self.rows, self.places = rows, places

    @torch.inference_mode()
    def move(self, source: int, target: int, places: int) -> None:
        """Copy the first `places` of a row over another row."""
        for held in (self.keys, self.values):
            for layer in held:
                layer[target, :, :places] = layer[source, :, :places]

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(layer.nbytes for held in (self.keys, self.values) for layer in held)


class Pass:
    """One pass of `length` tokens of every row through the model.

    cache: its rows from `first` on are written and read.  starts: how many places each of them holds already.
    """

    def __init__(self, cache: Cache, first: int, starts: Sequence[int], length: int, device: Any) -> None:
        cache.fit(first + len(starts), max(starts) + length)
        self.cache, self.rows, self.length = cache, slice(first, first + len(starts)), length
        self.keys = max(starts) + length
        # Where rows are equally long nothing is scattered.
        self.even = starts[0] if len(set(starts)) == 1 else None
        self.starts = torch.tensor(list(starts), dtype=torch.long, device=device)
        self._masks: dict[int | None, Tensor] = {}
        if self.even is None:
            self._row = torch.arange(len(starts), device=device)[:, None]
            self._place = self.starts[:, None] + torch.arange(length, device=device)

    @property
    def positions(self) -> Tensor:
        """The place of every token in its text, [B, length] int64."""
        return self.starts[:, None] + torch.arange(self.length, device=self.starts.device)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None
    ) -> Tensor:
        """Write keys and values of this pass, and return what the queries find, [B, length, heads, width].

        query: [B, heads, length, width].  key, value: [B, key heads, length, width].
        window: how far back a token sees, itself included; None: to the beginning.
        """
        keys, values = self.cache.keys[layer][self.rows], self.cache.values[layer][self.rows]
        if self.even is not None:
            keys[:, :, self.even : self.even + self.length] = key
            values[:, :, self.even : self.even + self.length] = value
        else:
            keys[self._row, :, self._place] = key.transpose(1, 2)
            values[self._row, :, self._place] = value.transpose(1, 2)
        is_first = self.even == 0
        if not is_first:
            key, value = keys[:, :, : self.keys], values[:, :, : self.keys]
        # A pass from the beginning is causal, and one token sees all there is: neither needs a mask.
        is_windowed = window is not None and self.keys > window
        needs_mask = is_windowed or not (is_first or (self.even is not None and self.length == 1))
        mask = self._mask(window if is_windowed else None) if needs_mask else None
        return _attention(query, key, value, mask, scale, mask is None and self.length > 1)

    def _mask(self, window: int | None) -> Tensor:
        if window not in self._masks:
            self._masks[window] = seen(self.starts, self.length, self.keys, window)
        return self._masks[window]


def seen(starts: Tensor, length: int, keys: int, window: int | None) -> Tensor:
    """Return which keys each token may look at, [B, 1, length, keys] bool.

    starts: [B], the place of each row's first token.  window: how far back, itself included.
    """
    place = starts[:, None] + torch.arange(length, device=starts.device)
    key = torch.arange(keys, device=starts.device)
    mask = key <= place[..., None]
    if window is not None:
        mask &= key > place[..., None] - window
    return mask[:, None]


def _attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, is_causal: bool
) -> Tensor:
    batch, heads, length, width = query.shape
    shared = heads // key.shape[1]
    if length == 1:
        # Queries that share keys stand beside each other, as if they were further tokens: nothing is repeated.
        query = query.view(batch, key.shape[1], shared, width)
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scale)
        return out.reshape(batch, 1, heads, width)
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, mask, is_causal=is_causal, scale=scale, enable_gqa=shared > 1
    )
    return out.transpose(1, 2)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    vocabkit_pass: Pass | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers' attention functions do; the pass came through the model's forward.

    Raises TypeError when the model did not hand the pass on.
    """
    del attention_mask, dropout
    if vocabkit_pass is None:
        raise TypeError(f"{type(module).__name__} hands nothing on to its attention")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return vocabkit_pass.attend(module.layer_idx, query, key, value, scale, sliding_window), None


def register() -> None:
    """Make `attention` known to transformers as attn_implementation "vocabkit"."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attention)
