"""Load a causal language model from a local folder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocabkit.errors import CheckpointError, VocabkitError
from vocabkit.rows.checkpoint import CONFIG

if TYPE_CHECKING:
    from vocabkit.model.trained import Trained

NEEDED = ("torch", "transformers")
ADAPTER = "adapter_config.json"


def can_run_models() -> bool:
    """Return whether torch and transformers are installed."""
    return all(find_spec(name) is not None for name in NEEDED)


def need_models(what: str, extra: str = "train") -> None:
    """Raise VocabkitError, which says what to install, unless torch and transformers are there.

    what: needs them.  extra: what brings them.
    """
    if not can_run_models():
        raise VocabkitError(f"{what} needs torch and transformers; run `pip install 'vocabkit[{extra}]'`")


def has_gpu() -> bool:
    """Return whether torch finds a GPU."""
    import torch

    return bool(torch.cuda.is_available())


def load_model(
    folder: Path,
    *,
    device: str | None = None,
    dtype: str = "auto",
    trained: Trained | None = None,
    form: str | None = None,
) -> Any:
    """Return the model in `folder`, ready to be evaluated; no code of the folder is run.

    Layers that are stored in 4 or 8 bits, in bitsandbytes' layout, stay so; bitsandbytes is not needed.
    device: "cpu", "cuda", ...; a GPU when there is one.
    dtype: a torch type's name; "auto" is the checkpoint's own, but float32 on a CPU, which is slow in anything else.
    trained: what a run from this model learned, to be added to it.
    form: "int8", "int4" or "nf4" to hold linear layers in, packed while they are read where that can be.
    Raises VocabkitError when torch or transformers is missing, or the folder cannot be loaded.
    """
    need_models("running a model")
    import torch
    import transformers

    from vocabkit.model.linears import pack_layers
    from vocabkit.model.quantized import is_quantized, load_packed, load_quantized
    from vocabkit.model.trained import add_trained

    if (folder / ADAPTER).is_file() and not (folder / CONFIG).is_file():
        raise CheckpointError(
            f"{folder} is an adapter of PEFT and no model; name the run it was made of, or merge it into its base"
        )
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} holds no model: {CONFIG} is missing; name the folder of a model")
    device = device or ("cuda" if has_gpu() else "cpu")
    if dtype == "auto" and device == "cpu":
        dtype = "float32"
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise VocabkitError(f"--dtype {dtype!r} is no type of torch; use float32, bfloat16 or float16")
    transformers.utils.logging.disable_progress_bar()
    try:
        if is_quantized(folder):
            model = load_quantized(folder, device, dtype, form)
        elif form and trained is None and (found := load_packed(folder, device, dtype, form)) is not None:
            model = found
        else:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype if dtype == "auto" else getattr(torch, dtype), local_files_only=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"transformers cannot load {folder}: {reason}") from error
    if trained is not None:
        add_trained(model, trained)
    model = model.to(device).eval()
    if form:
        pack_layers(model, form)
    return model
