"""Options that several commands share, with the same meaning everywhere."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
# More workers than this wait for the parent, which merges their counts.
MAX_WORKERS = 8


class Size(click.ParamType[int]):
    """A number of bytes: 512M, 2G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes that `value` stands for."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", str(value).strip().lower())
        if not match:
            self.fail(f"{value!r} is no size; write for example 512M or 2G", param, ctx)
        return int(float(match[1]) * UNITS[match[2]])


class NewTokens(click.ParamType[int | str]):
    """A number of new tokens, or "auto"."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number, or "auto"."""
        text = str(value).strip().lower().replace(",", "").replace("_", "")
        if text != "auto" and not (text.isdecimal() and int(text) > 0):
            self.fail(f"{value!r} is no number of tokens; write for example 12000, or auto", param, ctx)
        return text if text == "auto" else int(text)


class Share(click.ParamType[float]):
    """A share: 2% or 0.02."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share that `value` stands for, from 0 to 1."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(%?)", str(value).strip())
        share = float(match[1]) / (100 if match[2] else 1) if match else 2.0
        if share > 1:
            self.fail(f"{value!r} is no share; write for example 2% or 0.02", param, ctx)
        return share


class LinesOrShare(Share):
    """A number of lines, 3, or a share of them, 1% or 0.01; what is below 1 is a share."""

    name = "lines or share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number of lines, from 1 on, or the share, below 1; infinity for 100%."""
        text = str(value).strip()
        if text.isascii() and text.isdigit():
            return float(text)
        share = super().convert(value, param, ctx)
        return share if share < 1 else math.inf


output = click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
force = click.option("--force", is_flag=True, help="Replace an output folder that vocabkit wrote.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document on stdout.")
lang = click.option("--lang", required=True, metavar="CODE", help="Language, as `vocabkit languages` lists it.")
base = click.option(
    "--base", default="starter", metavar="TOKENIZER",
    help="Model folder, tokenizer.json, .model, tiktoken file or hub id.  [default: the one of the extra `starter`]",
)  # fmt: skip


def learning(command: Command) -> Command:
    """Add what decides how tokens are learned from text."""
    options = (
        click.option(
            "--corpus", multiple=True, metavar="TEXT",
            help="File, folder, glob, `-`, wordfreq:CODE or hf:NAME; may be repeated.  [default: the language's own]",
        ),
        click.option("--max-length", type=click.IntRange(1), default=None, help="Longest token, in characters."),
        click.option("--min-count", type=click.IntRange(1), default=2, show_default=True, help="Rarest token."),
        click.option("--bridges/--no-bridges", default=True, help="Learn beginnings of characters where needed."),
        click.option(
            "--max-drift", type=click.FloatRange(0, 1), default=None, metavar="SHARE",
            help="Share of English lines that may change where English has the script too.  [default: 0.01]",
        ),
        click.option(
            "--base-text", multiple=True, metavar="TEXT",
            help="Text of the base's languages that is to stay, for such a script.  [default: wordfreq:en]",
        ),
        click.option(
            "--pretokenizer", type=click.Choice(["keep", "extend"]), default="keep", show_default=True,
            help="extend: a byte-level base that cuts words of the language keeps them in one piece.",
        ),
        click.option("--normalize", is_flag=True, help="Apply the language's normalisation to the corpus."),
        click.option("--field", default="text", show_default=True, help="Field of JSON Lines and Parquet records."),
        click.option(
            "--on-bad-text", type=click.Choice(["skip", "replace", "error"]), default="skip", show_default=True,
            help="What to do with text that cannot be read; it is always counted and reported.",
        ),
        click.option("--workers", type=click.IntRange(1), default=None, help="Counting processes.  [default: cores]"),
        click.option("--max-memory", type=Size(), default="2G", show_default=True, help="Bound on counted spans."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def default_workers() -> int:
    """Return how many processes count when nobody says."""
    return min(MAX_WORKERS, os.cpu_count() or 1)


def making_rows(command: Command) -> Command:
    """Add what initialisers read and are told."""
    options = (
        click.option(
            "--init-option", multiple=True, metavar="NAME=VALUE", help="Passed on to --init; may be repeated."
        ),
        click.option(
            "--init-corpus", multiple=True, metavar="TEXT",
            help="Text for --init focus, distill and headfit; may be repeated.  [default: that of --corpus]",
        ),
        click.option(
            "--donor", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="MODEL",
            help="Model that has tokens of the language, for --init omp.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def weights(command: Command) -> Command:
    """Add what decides how a model's new rows are made and written."""
    options = (
        click.option("--init", metavar="NAME", help="How new rows are made.  [default: the language's, mostly auto]"),
        click.option("--seed", type=int, default=0, show_default=True, help="Of rows that are drawn at random."),
        click.option("--link", is_flag=True, help="Hard-link weights that do not change, instead of copying them."),
        click.option("--no-weights", is_flag=True, help="Extend the tokenizer alone."),
    )
    for option in reversed(options):
        command = option(command)
    return command
