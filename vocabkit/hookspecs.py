"""The hooks a plugin can implement, and the markers for both sides.

Every hook is `register_<things>(register)`: one plugin can offer many.  A name that two plugins offer is an
error that names both.  The bundled plugins use the same hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

hookspec = pluggy.HookspecMarker("vocabkit")
hookimpl = pluggy.HookimplMarker("vocabkit")


@hookspec
def register_languages(register: Callable[..., None]) -> None:
    """Offer languages: `register(Language(...))`."""


@hookspec
def register_corpus_readers(register: Callable[..., None]) -> None:
    """Offer corpus prefixes: `register("wordfreq", read)` handles `wordfreq:zh`."""


@hookspec
def register_learners(register: Callable[..., None]) -> None:
    """Offer ways to learn new tokens from counted spans: `register("continued-bpe", learn)`."""


@hookspec
def register_mergers(register: Callable[..., None]) -> None:
    """Offer ways to put new tokens into a base tokenizer: `register("ranked", merge)`."""


@hookspec
def register_initializers(register: Callable[..., None]) -> None:
    """Offer ways to make rows for new tokens: `register("mean", make)`, `make(RowRequest)` -> [M, width] float32."""


@hookspec
def register_probes(register: Callable[..., None]) -> None:
    """Offer what a model is probed for: `register("pronouns", probe)`, `probe(subject, language)` -> Finding."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the `vocabkit` click group."""
