"""The methods that come with vocabkit, registered through the same hooks as anybody's.

The modules behind them are imported when they are first used, so that `vocabkit --help` stays quick.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vocabkit.hookspecs import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def register_corpus_readers(register: Callable[..., None]) -> None:
    """Offer `wordfreq:CODE` and `hf:NAME`."""
    register("wordfreq", _lazy("vocabkit.corpus.wordfreq_reader", "read_wordfreq"))
    register("hf", _lazy("vocabkit.corpus.hf_reader", "read_hf"))


@hookimpl
def register_learners(register: Callable[..., None]) -> None:
    """Offer continued BPE."""
    register("continued-bpe", _lazy("vocabkit.vocabulary.learn", "learn"))


@hookimpl
def register_mergers(register: Callable[..., None]) -> None:
    """Offer the three ways to put tokens into a base."""
    register("ranked", _lazy("vocabkit.vocabulary.merge", "ranked"))
    register("union", _lazy("vocabkit.vocabulary.merge", "union"))
    register("bridge", _lazy("vocabkit.vocabulary.bridge", "bridge"))


@hookimpl
def register_initializers(register: Callable[..., None]) -> None:
    """Offer the ways to make rows: from the old ones alone, from text, from a donor, and fitted (extra `train`)."""
    for name in (
        "zeros", "random", "mean", "normal", "subword-mean", "subword-weighted", "first-piece", "last-piece",
        "merge-tree", "copy",
    ):  # fmt: skip
        register(name, _lazy("vocabkit.rows.initializers", name.replace("-", "_")))
    register("focus", _lazy("vocabkit.rows.focus", "focus"))
    register("omp", _lazy("vocabkit.rows.omp", "omp"))
    register("shift", _lazy("vocabkit.fit.shift", "shift"))
    register("distill", _lazy("vocabkit.fit.distill", "distill"))
    register("headfit", _lazy("vocabkit.fit.headfit", "headfit"))


@hookimpl
def register_probes(register: Callable[..., None]) -> None:
    """Offer small probes of bias and of refusals, to see whether training changed either."""
    register("pronouns", _lazy("vocabkit.measure.pronouns", "pronouns"))
    register("refusal-harmful", _lazy("vocabkit.measure.refusal", "harmful"))
    register("refusal-harmless", _lazy("vocabkit.measure.refusal", "harmless"))


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add vocabkit's own commands."""
    from vocabkit.cli.commands import add_commands

    add_commands(cli)


def _lazy(module: str, name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(import_module(module), name)(*arguments, **options)

    call.__name__ = name
    return call
