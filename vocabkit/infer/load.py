"""Any folder this project writes, opened for reading and writing text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.infer.engine import Engine
from vocabkit.infer.rope import Stretch, stretched
from vocabkit.model.linears import FORMATS
from vocabkit.model.load import has_gpu, load_model
from vocabkit.model.quantized import is_nf4
from vocabkit.model.trained import base_of, is_run, read_trained
from vocabkit.tokenizer import open_tokenizer

AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class Opening:
    """How a model is opened.

    device: None for a GPU when there is one.  dtype: a torch type's name, or "auto".
    quantize: hold linear layers in "int8", "int4" (CPU) or "nf4" (GPU); "none"; "auto": as they are stored, but NF4
    as int8 on a CPU, which multiplies it forty times as fast.
    base: the model of a run, if it was moved.  stretch: of the context.
    """

    device: str | None = None
    dtype: str = AUTO
    quantize: str = AUTO
    base: Path | None = None
    stretch: Stretch | None = None


def open_engine(folder: Path, how: Opening | None = None) -> Engine:
    """Return the engine of a model, or of a run with the model it was trained from.

    Raises VocabkitError when the folder holds neither, CheckpointError when it cannot be loaded.
    """
    model, folder = open_model(folder, how)
    longest = stretched(model, how.stretch if how else None)
    return Engine(model, open_tokenizer(folder), max_length=longest)


def open_model(folder: Path, how: Opening | None = None) -> tuple[Any, Path]:
    """Return the model behind `open_engine` as transformers runs it, not stretched, and its tokenizer's folder."""
    how = how or Opening()
    if how.quantize not in (AUTO, NONE, *FORMATS):
        raise VocabkitError(f"--quantize {how.quantize} is not one of {', '.join((AUTO, NONE, *FORMATS))}")
    device = how.device or ("cuda" if has_gpu() else "cpu")
    trained = None
    if is_run(folder):
        trained = read_trained(folder)
        folder = base_of([trained], how.base)
    elif how.base is not None:
        raise VocabkitError(f"{folder} is no run, so it takes no --base")
    form: str | None = how.quantize
    if form == AUTO:
        form = "int8" if device == "cpu" and is_nf4(folder) else None
    elif form == NONE:
        form = None
    if form == "int4" and device != "cpu":
        raise VocabkitError("--quantize int4 is for CPUs; use nf4 on a GPU")
    return load_model(folder, device=device, dtype=how.dtype, trained=trained, form=form), folder
