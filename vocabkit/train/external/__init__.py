"""A run's settings as a configuration for other trainers; what they cannot express stands in its comments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vocabkit.errors import UnknownNameError
from vocabkit.train.external.axolotl import axolotl
from vocabkit.train.external.job import Job, job_for
from vocabkit.train.external.llama_factory import llama_factory
from vocabkit.train.external.trl import trl
from vocabkit.train.settings import Settings

TRAINERS: dict[str, Callable[[Job], str]] = {"llama-factory": llama_factory, "axolotl": axolotl, "trl": trl}


def config_for(
    trainer: str, model: Path, settings: Settings, data: Mapping[str, Sequence[str]], output: Path | None
) -> str:
    """Return what another trainer needs to run `settings`: YAML, or a Python script for TRL.

    trainer: "llama-factory", "axolotl" or "trl".  data: name of a text -> its files; they need not be here.
    Raises UnknownNameError for another trainer, VocabkitError for a model that such settings do not fit.
    """
    if trainer not in TRAINERS:
        raise UnknownNameError("trainer", trainer, TRAINERS)
    return TRAINERS[trainer](job_for(model, settings, data, output))
