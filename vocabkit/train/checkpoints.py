"""The state of a run on disk: safetensors and JSON, each checkpoint a folder that appears whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vocabkit.errors import CheckpointError
from vocabkit.files import whole_folder
from vocabkit.model.trained import FOLDER, STATE, TRAINED, Saved, checkpoints, load_tensors
from vocabkit.train.processes import Processes, put, whole

OPTIMIZER = "optimizer.safetensors"


def save(
    run: Path,
    step: int,
    parameters: Mapping[str, Tensor],
    optimizers: Mapping[str, Any],
    state: Mapping[str, Any],
    processes: Processes,
    keep: int,
) -> None:
    """Write a checkpoint, then remove all but the newest `keep`; every process must call it, the first one writes.

    parameters: what trains.  optimizers: name of a parameter -> the optimizer that holds its state.
    """
    trained = {name: _ready(parameter) for name, parameter in parameters.items()}
    moments = {}
    for name, parameter in parameters.items():
        for key, value in optimizers[name].state[parameter].items():
            moments[f"{name}.{key}"] = _ready(torch.as_tensor(value))
    if processes.is_first:
        from safetensors.torch import save_file

        (run / FOLDER).mkdir(parents=True, exist_ok=True)
        with whole_folder(run / FOLDER / f"{step:08d}") as folder:
            save_file(trained, folder / TRAINED)
            save_file(moments, folder / OPTIMIZER)
            (folder / STATE).write_text(json.dumps({"step": step, **state}, indent=2) + "\n", encoding="utf-8")
        for old in checkpoints(run)[:-keep]:
            shutil.rmtree(old.folder, ignore_errors=True)
    processes.barrier()


def restore(saved: Saved, parameters: Mapping[str, Tensor], optimizers: Mapping[str, Any]) -> dict[str, Any]:
    """Put a checkpoint's values into parameters and optimizers; return its state.

    Raises CheckpointError when it is damaged, or of other parameters.
    """
    trained, moments = saved.trained(), load_tensors(saved.folder / OPTIMIZER)
    if sorted(trained) != sorted(parameters):
        odd = sorted(set(trained) ^ set(parameters))[0]
        raise CheckpointError(f"{saved.folder} does not fit this run ({odd}); start anew with --force")
    for name, parameter in parameters.items():
        if trained[name].shape != parameter.shape:
            raise CheckpointError(
                f"{saved.folder}: {name} is {list(trained[name].shape)}, here {list(parameter.shape)}; "
                f"start anew with --force"
            )
        put(parameter, trained[name])
        state = optimizers[name].state[parameter]
        for key in [key for key in moments if key.rpartition(".")[0] == name]:
            value, short = moments[key], key.rpartition(".")[2]
            if short == "step":
                state[short] = value
                continue
            state[short] = torch.empty_like(parameter, dtype=value.dtype)
            put(state[short], value)
    return saved.state()


def _ready(tensor: Tensor) -> Tensor:
    return whole(tensor.detach()).cpu().contiguous().clone()
