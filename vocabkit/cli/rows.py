"""How new rows are made: what `extend` and `bench init` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit.language import Language
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.rows.checkpoint import Checkpoint
    from vocabkit.vocabulary.requests import RowOptions

# Text that initialisers may read, at most.
SAMPLE_BYTES = 32 << 20
AUTO = "auto"


@dataclass(frozen=True)
class RowChoice:
    """The options that `cli.options.making_rows` adds, as one value."""

    init_option: Sequence[str]
    init_corpus: Sequence[str]
    donor: Path | None

    def to_manifest(self) -> dict[str, object]:
        """Return what was chosen, nothing for what was not."""
        chosen = {
            "init_option": list(self.init_option),
            "init_corpus": list(self.init_corpus),
            "donor": self.donor.name if self.donor else None,
        }
        return {name: value for name, value in chosen.items() if value}


def row_options(
    registry: Registry,
    language: Language,
    name: str,
    choice: RowChoice,
    checkpoint: Checkpoint,
    *,
    corpus: Sequence[str],
    field: str = "text",
    seed: int = 0,
    model: Callable[[], Any] | None = None,
) -> RowOptions:
    """Return the options of the initialiser `name`; "auto" is the best without training that can run here.

    corpus: what the vocabulary is learned from; its text is read when no --init-corpus was named.
    model: returns the base, where it is in memory already; by default it is loaded from the checkpoint's folder.
    """
    from vocabkit.corpus import open_corpus
    from vocabkit.model.load import load_model
    from vocabkit.vocabulary.requests import RowOptions
    from vocabkit.vocabulary.sample import sample_lines

    if name == AUTO:
        name = _best(checkpoint, bool(_specs(language, choice, corpus)))
    if any("=" not in pair for pair in choice.init_option):
        raise click.UsageError("write --init-option as NAME=VALUE")
    given = {}
    for pair in choice.init_option:
        key, value = pair.split("=", 1)
        # distill.layer=8 is for distill alone, which matters when several are compared.
        whose, dot, option = key.rpartition(".")
        if not dot or whose == name:
            given[option] = value
    if choice.donor:
        given["donor"] = str(choice.donor)
    specs = _specs(language, choice, corpus)
    opened = open_corpus(specs, registry=registry, field=field) if specs else None

    def lines(size: int) -> Iterator[str]:
        return sample_lines(opened, min(size, SAMPLE_BYTES), seed) if opened else iter(())

    return RowOptions(
        registry.initializer(name),
        name,
        seed,
        given,
        lines if opened else None,
        partial(language.run, "variants") if language.variants else None,
        model or lru_cache(1)(lambda: load_model(checkpoint.folder)),
    )


def _specs(language: Language, choice: RowChoice, corpus: Sequence[str]) -> list[str]:
    """Return what text initialisers read."""
    specs = list(choice.init_corpus or corpus) or ([language.sample_corpus] if language.sample_corpus else [])
    # Standard input was read by the learner.
    return [spec for spec in specs if spec != "-"]


def _best(checkpoint: Checkpoint, has_text: bool) -> str:
    """Return "shift" for a tied model that can be run on text; for others it was not measured."""
    from vocabkit.vocabulary.weight_checks import can_run

    return "shift" if checkpoint.tied and has_text and can_run(checkpoint) else "copy"
