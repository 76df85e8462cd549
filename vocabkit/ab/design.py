"""What an experiment compares: its arms, its two models, and the folder that remembers what it was begun with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vocabkit.ab.readouts import BITS, Readout
from vocabkit.errors import VocabkitError
from vocabkit.files import MANIFEST, write_whole
from vocabkit.manifest import read_manifest
from vocabkit.model.trained import fingerprint
from vocabkit.rows.checkpoint import Checkpoint, RowTensor, holds_model, open_checkpoint
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.train.settings import Settings
from vocabkit.vocabulary.diff import diff_weights

ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Arm:
    """One way to go on from the base.

    name: of its folders.  model: "base", "extended", or "random" for new rows drawn at random.
    budget: "bytes" or "compute", what it has in common with the base's arm.
    """

    name: str
    title: str
    model: str
    budget: str


OWN = Arm("own", "own vocabulary", "base", "bytes")
EXTENDED = Arm("extended", "extended, equal bytes", "extended", "bytes")
COMPUTE = Arm("extended-compute", "extended, equal compute", "extended", "compute")
RANDOM = Arm("random", "extended, random rows, equal bytes", "random", "bytes")


@dataclass(frozen=True)
class Design:
    """What decides the numbers of an experiment, and how many seeds it has.

    settings: of every run but for its seed, its passes, and its rows where there are no new ones.
    mix: share of all bytes that is replayed.  max_bytes, max_steps: of the base's arm.
    readouts: what is measured of every run.
    """

    folder: Path
    base: Path
    extended: Path
    settings: Settings
    seeds: int = 3
    random_init: bool = False
    mix: float = 0.0
    max_bytes: int | None = None
    max_steps: int | None = None
    readouts: tuple[Readout, ...] = BITS

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise VocabkitError(
                "one seed says nothing of what chance does; use --seeds 3 or more, or --seeds 2 in a hurry"
            )
        if self.settings.stage == "instruct":
            raise VocabkitError("bits per byte measure text, not answers; use --stage rows or --stage pretrain")
        if self.settings.rows == "new" and not self.settings.targets:
            raise VocabkitError(
                "the arm without an extension has no new rows, so nothing of it would be trained; use --rows all, "
                "or --stage pretrain"
            )
        if not 0 <= self.mix < 1:
            raise VocabkitError(f"--mix {self.mix:g} leaves nothing for the text of --data; use for example 0.2")

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms, the base's own first."""
        return (OWN, EXTENDED, COMPUTE, RANDOM) if self.random_init else (OWN, EXTENDED, COMPUTE)

    def settings_of(self, arm: Arm, seed: int, epochs: float) -> Settings:
        """Return the settings of one run."""
        rows = "none" if arm is OWN and self.settings.rows == "new" else self.settings.rows
        return replace(self.settings, seed=seed, epochs=epochs, steps=None, shuffle=False, rows=rows)


def begin(design: Design, texts: Mapping[str, str], *, force: bool) -> None:
    """Make the experiment's folder, or check that the one that is there is the same.

    texts: name -> hash of every text.  More seeds and a further arm can join an experiment; anything else is another.
    Raises VocabkitError when the folder is not an experiment, or one that was begun otherwise, and `force` does not
    say that it goes.
    """
    folder = design.folder
    now = json.loads(json.dumps(_identity(design, texts)))
    found = read_manifest(folder) if folder.is_dir() else None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if found is None or found.get("command") != "ab":
            raise VocabkitError(f"{folder} exists and is no experiment of vocabkit; choose another --output")
        different = _difference(found, now)
        if not different and not force:
            return
        if not force:
            raise VocabkitError(
                f"{folder} was begun with other {different}; use what it was begun with, another --output, or --force"
            )
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"command": "ab", **now, "files": {}}, ensure_ascii=False, indent=2, sort_keys=True)
        write_whole(folder / MANIFEST, f"{text}\n")
    except OSError as error:
        raise VocabkitError(f"cannot write to {folder}: {error.strerror}; choose another --output") from error


def check_pair(base: Path, extended: Path) -> dict[str, Tokenizer]:
    """Return both tokenizers; raise VocabkitError unless `extended` is `base` with more tokens and rows.

    Every old token, row and other tensor must be the same, or the arms would not begin with the same model.
    """
    for folder in (base, extended):
        if not (folder.is_dir() and holds_model(folder)):
            raise VocabkitError(f"{folder} holds no model; name a model folder, and one that `vocabkit extend` made")
    found = {"base": open_tokenizer(base), "extended": open_tokenizer(extended)}
    old, new = found["base"].id_table, found["extended"].id_table
    other = next((token for token, i in old.items() if new.get(token) != i), None)
    if other is not None:
        raise VocabkitError(
            f"{extended} does not extend {base}: the token {other!r} has the id {new.get(other)}, not {old[other]}; "
            f"name the base it was made from"
        )
    if found["extended"].size == found["base"].size:
        raise VocabkitError(f"{extended} has no more tokens than {base}; run `vocabkit extend` first")
    changed = _changed(open_checkpoint(base), open_checkpoint(extended), found["base"].size)
    if changed:
        raise VocabkitError(
            f"{extended} was not made from the weights of {base}: {changed} differs; extend this base again, or name "
            f"the base it was made from"
        )
    return found


def _identity(design: Design, texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "base": fingerprint(design.base),
        "extended": fingerprint(design.extended),
        "settings": design.settings.to_json(),
        "texts": dict(texts),
        "mix": design.mix,
        "max_bytes": design.max_bytes,
        "max_steps": design.max_steps,
    }


def _difference(found: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what of an experiment is not as it was, "" when all is."""
    for name, value in now.items():
        before = found.get(name)
        if before == value:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            keys = [key for key in {**before, **value} if before.get(key) != value.get(key)]
            return f"{name}: {', '.join(keys)}"
        return f"{name}: {before}, not {value}"
    return ""


def _changed(base: Checkpoint, extended: Checkpoint, size: int) -> str:
    """Return the name of a tensor that is not the same, rows from `size` on excepted; "" when there is none."""
    found = diff_weights(base, extended)
    others = [*found.changed, *found.removed, *found.added]
    if others:
        return others[0]
    if found.tied[0] != found.tied[1]:
        return "whether input and head are one matrix"
    mine = {tensor.name: tensor for tensor in base.row_tensors}
    return next(
        (t.name for t in extended.row_tensors if t.name in mine and not _same_rows(mine[t.name], t, size)), ""
    )


def _same_rows(first: RowTensor, second: RowTensor, size: int) -> bool:
    if first.dtype != second.dtype or first.tensor.shape[1:] != second.tensor.shape[1:]:
        return False
    a, b = first.values, second.values
    for start in range(0, size, ROWS_AT_A_TIME):
        rows = slice(start, min(start + ROWS_AT_A_TIME, size))
        if np.ascontiguousarray(a[rows]).tobytes() != np.ascontiguousarray(b[rows]).tobytes():
            return False
    return True
