"""Load a causal language model from a local folder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vocabkit.errors import CheckpointError, VocabkitError

NEEDED = ("torch", "transformers")


def can_run_models() -> bool:
    """Return whether torch and transformers are installed."""
    return all(find_spec(name) is not None for name in NEEDED)


def need_models(what: str) -> None:
    """Raise VocabkitError, which says what to install, unless torch and transformers are there.  what: needs them."""
    if not can_run_models():
        raise VocabkitError(f"{what} needs torch and transformers; run `pip install 'vocabkit[train]'`")


def has_gpu() -> bool:
    """Return whether torch finds a GPU."""
    import torch

    return bool(torch.cuda.is_available())


def load_model(folder: Path, *, device: str | None = None, dtype: str = "auto") -> Any:
    """Return the model in `folder`, ready to be evaluated; no code of the folder is run.

    device: "cpu", "cuda", ...; a GPU when there is one.
    dtype: a torch type's name; "auto" is the checkpoint's own, but float32 on a CPU, which is slow in anything else.
    Raises VocabkitError when torch or transformers is missing, or the folder cannot be loaded.
    """
    need_models("running a model")
    import torch
    import transformers

    device = device or ("cuda" if has_gpu() else "cpu")
    if dtype == "auto" and device == "cpu":
        dtype = "float32"
    transformers.utils.logging.disable_progress_bar()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype if dtype == "auto" else getattr(torch, dtype), local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"transformers cannot load {folder}: {reason}") from error
    return model.to(device).eval()
