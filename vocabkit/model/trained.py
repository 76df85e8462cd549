"""What a run of `vocabkit train` learned, read from its folder, and the model that it belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocabkit.copying import checksum_of
from vocabkit.errors import CheckpointError, VocabkitError
from vocabkit.files import MANIFEST
from vocabkit.manifest import read_manifest
from vocabkit.rows.checkpoint import CONFIG

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "checkpoints"
TRAINED, STATE = "trained.safetensors", "state.json"


@dataclass(frozen=True)
class Saved:
    """One checkpoint.  step: how many steps were taken.  folder: where it lies."""

    step: int
    folder: Path

    def state(self) -> dict[str, Any]:
        """Return `state.json`; raises CheckpointError when it is damaged."""
        try:
            found: dict[str, Any] = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.folder / STATE} is damaged ({error}); remove {self.folder}") from error
        return found

    def trained(self) -> dict[str, Tensor]:
        """Return what was trained, by name; raises CheckpointError when the file is damaged."""
        return load_tensors(self.folder / TRAINED)


def checkpoints(run: Path) -> list[Saved]:
    """Return the checkpoints of a run, the newest last."""
    folder = run / FOLDER
    if not folder.is_dir():
        return []
    return sorted((Saved(int(p.name), p) for p in folder.iterdir() if p.name.isdigit()), key=lambda saved: saved.step)


@dataclass(frozen=True)
class Trained:
    """What a run learned, from one of its checkpoints.

    model: the folder that it started from.  settings: its numbers, as its manifest has them.
    """

    folder: Path
    model: Path
    settings: dict[str, Any]
    saved: Saved
    tensors: dict[str, Tensor]

    @property
    def scale(self) -> float:
        """What its adapters' products are multiplied by."""
        return float(self.settings["alpha"]) / int(self.settings["rank"])

    @property
    def adapters(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer -> (a, b)."""
        layers = [name.removesuffix(".lora_A") for name in self.tensors if name.endswith(".lora_A")]
        return {layer: (self.tensors[f"{layer}.lora_A"], self.tensors[f"{layer}.lora_B"]) for layer in layers}


def is_run(folder: Path) -> bool:
    """Whether a folder is one that `vocabkit train` wrote."""
    found = read_manifest(folder) if folder.is_dir() else None
    return found is not None and found.get("command") == "train"


def instruction_template(folder: Path) -> str | None:
    """Return the template of the instructions that a run, or the model made of one, learned; else None."""
    found = read_manifest(folder) if folder.is_dir() else None
    if found is None:
        return None
    if found.get("command") != "train":
        said = found.get("template")
        return said if isinstance(said, str) else None
    settings = found["settings"]
    return str(settings["template"]) if settings.get("stage") == "instruct" else None


def run_manifest(folder: Path) -> dict[str, Any]:
    """Return what a run's folder says of it; raises VocabkitError when it is none."""
    found = read_manifest(folder) if folder.is_dir() else None
    if found is None or found.get("command") != "train":
        raise VocabkitError(f"{folder} is no run; name the output of `vocabkit train`")
    return found


def read_trained(folder: Path, step: int | None = None) -> Trained:
    """Return what the newest checkpoint of a run holds, or that of `step`.

    Raises VocabkitError when there is none.
    """
    manifest, saved = run_manifest(folder), checkpoints(folder)
    if not saved:
        raise VocabkitError(f"{folder} has no checkpoint yet; train further with --resume")
    chosen = saved[-1] if step is None else next((one for one in saved if one.step == step), None)
    if chosen is None:
        raise VocabkitError(
            f"{folder} has no checkpoint of step {step}; it has {', '.join(str(one.step) for one in saved)}"
        )
    return Trained(folder, Path(manifest["base"]), manifest["settings"], chosen, chosen.trained())


def base_of(runs: Sequence[Trained], base: Path | None) -> Path:
    """Return the model that all runs started from; raises VocabkitError when it is not there, or not the same."""
    folder = base or runs[0].model
    if not folder.is_dir():
        raise VocabkitError(f"the model {folder} is not there any more; name it with --base")
    found = fingerprint(folder)
    for one in runs:
        written = (read_manifest(one.folder) or {}).get("model")
        if written != found:
            raise VocabkitError(
                f"{one.folder} was not trained from {folder}, or its files changed; name the model with --base"
            )
    return folder


def add_trained(model: Any, trained: Trained) -> None:
    """Add what a run learned to the model that it started from, in memory.

    Raises CheckpointError where they do not fit.
    """
    import torch
    from vocabkit_kernels import merge_lora

    with torch.no_grad():
        for layer, (a, b) in trained.adapters.items():
            for part, one_a, one_b in _parts(model, layer, a, b):
                if part.shape != (len(one_b), one_a.shape[1]):
                    raise CheckpointError(f"the adapter of {layer} does not fit the model of {trained.model}")
                part.copy_(merge_lora(part, [(one_a, one_b, trained.scale)]))
        for name, module in (
            ("rows.input", model.get_input_embeddings()), ("rows.head", model.get_output_embeddings()),
        ):  # fmt: skip
            if name in trained.tensors:
                rows = trained.tensors[name]
                module.weight[len(module.weight) - len(rows) :] = rows.to(module.weight)


def _parts(model: Any, layer: str, a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the parts of a model's weights that an adapter changes, each with its share of the adapter."""
    try:
        if a.dim() == 2:
            yield model.get_submodule(layer).weight, a, b
            return
        path, _, matrix = layer.rpartition(".")
        experts = model.get_submodule(path)
        for i in range(len(a)):
            if matrix == "w2":
                yield experts.down_proj[i], a[i], b[i]
            else:
                # Gate above, up below.
                first = b.shape[1] if matrix == "w3" else 0
                yield experts.gate_up_proj[i, first : first + b.shape[1]], a[i], b[i]
    except AttributeError as error:
        raise CheckpointError(
            f"the model has no weight in floating point for the adapter of {layer}; use the model it was trained on"
        ) from error


def fingerprint(model: Path) -> dict[str, str]:
    """Return what tells one model from another: hashes of its config and tokenizer, and of its weights' headers.

    Headers, the first and the last megabyte: reading 13 GB at every start would take longer than a step.
    """
    found = {}
    for name in (CONFIG, "tokenizer.json", "tokenizer.model", MANIFEST):
        if (model / name).is_file():
            found[name] = checksum_of(model / name)
    for path in sorted(model.glob("*.safetensors")):
        digest = hashlib.sha256(str(path.stat().st_size).encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, path.stat().st_size - (1 << 20)))
            digest.update(file.read())
        found[path.name] = digest.hexdigest()[:32]
    return found


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file; raises CheckpointError when it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); remove {path.parent} to go on from the one before"
        ) from error
