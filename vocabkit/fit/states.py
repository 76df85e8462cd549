"""What a model makes of tokens on the inside: the states after its layers, and what its head reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.errors import VocabkitError
from vocabkit.fit.windows import Batch


class _Enough(Exception):
    """The layer was reached; the ones above need not run."""


def layers_of(model: Any) -> Any:
    """Return the list of the model's layers, whatever its architecture calls it."""
    import torch

    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise VocabkitError(f"no list of {count} layers in {type(model).__name__}; use an --init that needs no model")


def states_after(model: Any, layer: int, ids: Any, mask: Any) -> Any:
    """Return the states after layer number `layer`, from 1 on, [B, n, width]; the layers above do not run."""
    return _until(layers_of(model)[layer - 1].register_forward_hook, model, ids, mask)


def head_inputs(model: Any, ids: Any, mask: Any) -> Any:
    """Return what the head reads at every place, [B, n, width]; no logits are made."""
    return _until(model.get_output_embeddings().register_forward_pre_hook, model, ids, mask)


def _until(register: Callable[[Any], Any], model: Any, ids: Any, mask: Any) -> Any:
    """Run until the hook that is registered is called; return the tensor that it was given last."""
    found: list[Any] = []

    def keep(*given: Any) -> None:
        found.append(given[-1][0] if isinstance(given[-1], tuple) else given[-1])
        raise _Enough

    hook = register(keep)
    try:
        model(input_ids=ids, attention_mask=mask, use_cache=False)
    except _Enough:
        pass
    finally:
        hook.remove()
    return found[0]


def head_moment(model: Any, cut: Sequence[Batch]) -> Any:
    """Return the mean of h h^T over what the head reads at every place of the old segmentation, [width, width]."""
    import torch

    total: Any = 0.0
    count = 0
    with torch.no_grad():
        for batch in cut:
            mask = on_device(batch.old_mask, model)
            read = head_inputs(model, on_device(batch.old_ids, model), mask)[mask.bool()].float()
            total = total + read.T @ read
            count += len(read)
    return total / max(count, 1)


@contextmanager
def reading_new_rows(model: Any, first: int, rows: Any) -> Iterator[None]:
    """Let `model` read ids from `first` on as `rows` [M, width], through which gradients flow; its own stay."""
    import torch

    embedding = model.get_input_embeddings()

    class BesideNewRows(torch.nn.Module):
        def forward(self, ids: Any) -> Any:
            old = embedding(ids.clamp(max=first - 1))
            # Gemma's embedding multiplies what it looks up.
            new = torch.nn.functional.embedding((ids - first).clamp(min=0), rows)
            new = new.to(old.dtype) * getattr(embedding, "embed_scale", 1.0)
            return torch.where((ids >= first)[..., None], new, old)

    model.set_input_embeddings(BesideNewRows())
    try:
        yield
    finally:
        model.set_input_embeddings(embedding)


def on_device(array: NDArray[np.int64], model: Any) -> Any:
    """Return `array` as a tensor where the model is."""
    import torch

    return torch.from_numpy(array).to(model.device)
