"""The extended model with new rows drawn at random, as models were resized before initialisers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from vocabkit.files import whole_folder
from vocabkit.manifest import XXH3, inherited, write_manifest
from vocabkit.rows.checkpoint import CONFIG, open_checkpoint
from vocabkit.rows.dtypes import rounded
from vocabkit.rows.initializers import RANDOM_STD
from vocabkit.rows.surgery import NewRows, extend_checkpoint
from vocabkit.tokenizer import open_tokenizer


def write_random(base: Path, extended: Path, output: Path, seed: int) -> None:
    """Write `extended` with new rows ~ N(0, s I) into the folder `output`, which appears whole or not at all.

    s is the config's initializer_range, 0.02 where it has none: what transformers draws new rows with.  Biases are 0.
    """
    checkpoint, rows = open_checkpoint(base), open_checkpoint(extended).rows
    first = open_tokenizer(base).size
    deviation = float(checkpoint.config.get("initializer_range") or RANDOM_STD)
    generator = np.random.default_rng([seed, rows])

    def make() -> dict[str, NewRows]:
        new = {}
        for tensor in checkpoint.row_tensors:
            shape = tensor.tensor.shape[1:]
            drawn = generator.standard_normal((rows - first, *shape), np.float32) * np.float32(deviation)
            if tensor.role == "head bias":
                drawn[:] = 0
            new[tensor.name] = NewRows(rounded(drawn, tensor.dtype, tensor.name), np.zeros(shape, tensor.dtype))
        if checkpoint.tied and checkpoint.head is not None:
            new[checkpoint.head.name] = new[checkpoint.input.name]
        return new

    with whole_folder(output) as folder:
        checksums = extend_checkpoint(checkpoint, folder, make, first=first, rows=rows, link=True)
        for path in sorted(extended.iterdir()):
            is_tokenizer = path.is_file() and path.suffix != ".safetensors" and not path.name.startswith(".")
            if is_tokenizer and path.name != CONFIG and not (folder / path.name).exists():
                shutil.copyfile(path, folder / path.name)
        write_manifest(
            folder,
            "extend",
            arguments={"init": "random", "seed": seed},
            inputs=[],
            checksums={name: f"{XXH3}{value}" for name, value in checksums.items()},
            **inherited(extended),
        )
