"""vocabkit's own commands, in the order in which `vocabkit --help` lists them."""

from __future__ import annotations

import click

from vocabkit.cli.ab import ab
from vocabkit.cli.advise import advise
from vocabkit.cli.bench import bench
from vocabkit.cli.chat import chat
from vocabkit.cli.diagnose import diagnose
from vocabkit.cli.diff import diff
from vocabkit.cli.export import export
from vocabkit.cli.extend import extend
from vocabkit.cli.fuse import fuse
from vocabkit.cli.generate import generate
from vocabkit.cli.guard import guard
from vocabkit.cli.installed import plugins
from vocabkit.cli.languages import languages
from vocabkit.cli.learn import learn
from vocabkit.cli.quantize import quantize
from vocabkit.cli.report import report
from vocabkit.cli.serve import serve
from vocabkit.cli.train import train
from vocabkit.cli.verify import verify

COMMANDS = (
    advise, extend, learn, verify, diff, report, diagnose, guard, train, fuse, ab, quantize, generate, chat, serve,
    export, bench, languages, plugins,
)  # fmt: skip


def add_commands(cli: click.Group) -> None:
    """Add every command to `cli`."""
    for command in COMMANDS:
        cli.add_command(command)
