"""A run's folder: what it was started with, its metrics and its checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from vocabkit.errors import VocabkitError
from vocabkit.files import MANIFEST, lock, write_whole
from vocabkit.manifest import read_manifest
from vocabkit.model.trained import FOLDER, checkpoints, fingerprint, run_manifest
from vocabkit.train.metrics import METRICS
from vocabkit.train.settings import Settings

LOCK = ".lock"
LIBRARIES = ("vocabkit", "torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself.

    model: the folder it started from.  settings: its numbers.  data: name of a text -> its files.  shares: of a mix.
    reading: how texts are read ("field", "documents", "on_bad_text").
    """

    folder: Path
    model: Path
    settings: Settings
    data: dict[str, list[str]]
    shares: dict[str, float]
    reading: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return what must be the same for a run to go on."""
        return {
            "model": fingerprint(self.model),
            "settings": self.settings.to_json(),
            "data": self.data,
            "shares": self.shares,
            "reading": self.reading,
        }


def begin(run: Run, *, resume: bool, force: bool) -> None:
    """Make the run's folder, or check that the one that is there is of the same arguments.

    Raises VocabkitError when there is a run and neither `resume` nor `force` says what to do with it, or when it was
    started with other arguments.
    """
    found = read_manifest(run.folder) if run.folder.is_dir() else None
    if resume:
        if found is None or found.get("command") != "train":
            raise VocabkitError(f"{run.folder} holds no run to resume; start it without --resume")
        _check_same(run, found)
        return
    if run.folder.is_dir() and any(run.folder.iterdir()):
        if found is None or found.get("command") != "train":
            raise VocabkitError(f"{run.folder} exists and is no run of vocabkit; choose another --output")
        if not force:
            saved = checkpoints(run.folder)
            steps = f"{saved[-1].step} steps" if saved else "no saved step"
            raise VocabkitError(
                f"{run.folder} holds a run of {steps}; go on with --resume, or start anew with --force"
            )
        held(run.folder).close()
        shutil.rmtree(run.folder / FOLDER, ignore_errors=True)
        (run.folder / METRICS).unlink(missing_ok=True)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        manifest = {
            "command": "train",
            "base": str(run.model.resolve()),
            **run.to_json(),
            "versions": {name: _version(name) for name in LIBRARIES},
            "files": {},
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True)
        write_whole(run.folder / MANIFEST, f"{text}\n")
    except OSError as error:
        raise VocabkitError(f"cannot write to {run.folder}: {error.strerror}; choose another --output") from error


def open_run(folder: Path) -> Run:
    """Return the run in `folder`; raises VocabkitError when there is none."""
    found = run_manifest(folder)
    return Run(
        folder,
        Path(found["base"]),
        Settings.from_json(found["settings"]),
        found["data"],
        found["shares"],
        found["reading"],
    )


def held(folder: Path) -> BinaryIO:
    """Return a file whose lock keeps other processes from this run until it is closed.

    Raises VocabkitError when another process has it.
    """
    file = lock(folder / LOCK)
    if file is None:
        raise VocabkitError(f"another process trains {folder}; wait for it, or choose another --output")
    return file


def _check_same(run: Run, found: Mapping[str, Any]) -> None:
    mine = json.loads(json.dumps(run.to_json()))
    # A run of an older version says nothing of what that did not have, and did as is the default now.
    found = {**found, "settings": Settings.from_json(found.get("settings") or {}).to_json()}
    for part, values in mine.items():
        other = found.get(part)
        if other == values:
            continue
        if part == "model":
            raise VocabkitError(f"{run.model} is not the model that {run.folder} was started with; start anew")
        names = [name for name in {**values, **(other or {})} if values.get(name) != (other or {}).get(name)]
        name = names[0] if names else part
        raise VocabkitError(
            f"{run.folder} was started with {part} {name} = {(other or {}).get(name)!r}, not {values.get(name)!r}; "
            f"use the same, or another --output"
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
