"""Options of the commands that open a model and let it write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from vocabkit.infer.load import Opening
    from vocabkit.infer.sampling import Sampling

Command = TypeVar("Command", bound=Callable[..., Any])


def opening(command: Command) -> Command:
    """Add what decides how a model is opened."""
    options = (
        click.option("--base", type=click.Path(path_type=Path), help="The model of a run, if it was moved."),
        click.option("--device", help="cpu, cuda, cuda:1, ...  [default: a GPU when there is one]"),
        click.option(
            "--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto",
            help="Of what is not quantised.  [default: the checkpoint's own, float32 on a CPU]",
        ),
        click.option(
            "--quantize", type=click.Choice(["auto", "none", "int8", "int4", "nf4"]), default="auto",
            help="Hold linear layers in few bits: int8 and int4 are fast on a CPU.  [default: as they are stored; "
            "NF4 as int8 on a CPU]",
        ),
        click.option("--context", type=click.IntRange(2), metavar="TOKENS", help="Prompt and answer together."),
        click.option(
            "--rope", metavar="KIND[:FACTOR]",
            help="Stretch the context: linear, ntk or yarn; the factor follows from --context.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def opening_of(given: dict[str, Any]) -> Opening:
    """Take the options of `opening` out of a command's arguments."""
    from vocabkit.infer.load import Opening
    from vocabkit.infer.rope import Stretch

    stretch = Stretch.parse(given.pop("rope"), given.pop("context"))
    names = ("device", "dtype", "quantize", "base")
    return Opening(**{name: given.pop(name) for name in names}, stretch=stretch)


def sampling(*, temperature: float, max_new_tokens: int) -> Callable[[Command], Command]:
    """Add what decides how tokens are chosen, with these defaults."""

    def add(command: Command) -> Command:
        options = (
            click.option(
                "--max-new-tokens", type=click.IntRange(1), default=max_new_tokens, show_default=True, metavar="N"
            ),
            click.option(
                "--temperature", type=click.FloatRange(0), default=temperature, show_default=True,
                help="0 takes the likeliest token.",
            ),
            click.option("--top-k", type=click.IntRange(0), default=0, help="Draw from so many; 0 for all."),
            click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Nucleus."),
            click.option("--min-p", type=click.FloatRange(0, 1), default=0.0, help="Share of the likeliest one's p."),
            click.option("--repetition-penalty", type=click.FloatRange(0, min_open=True), default=1.0),
            click.option("--stop", multiple=True, metavar="TEXT", help="Ends the text; may be repeated."),
            click.option("--seed", type=int, help="Of what is drawn.  [default: another one each time]"),
        )  # fmt: skip
        for option in reversed(options):
            command = option(command)
        return command

    return add


def sampling_of(given: dict[str, Any], **more: Any) -> Sampling:
    """Take the options of `sampling` out of a command's arguments."""
    from vocabkit.infer.sampling import Sampling

    names = (
        "max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "stop", "seed",
    )  # fmt: skip
    return Sampling(**{name: given.pop(name) for name in names}, **more)
