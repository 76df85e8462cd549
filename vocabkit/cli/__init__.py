"""The command line: `main` is what `vocabkit` runs."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry, load_plugins

EPILOG = "Exit codes: 0 done, 1 failed or a check found something, 2 misuse, 130 interrupted."


def build_cli(registry: Registry) -> click.Group:
    """Return the command group with every plugin's commands; `registry` is what the commands see."""
    group = click.Group(
        "vocabkit",
        help="Teach a language model's tokenizer a new language, and prove that nothing else broke.",
        epilog=EPILOG,
        context_settings={"help_option_names": ["-h", "--help"], "obj": registry, "max_content_width": 100},
    )
    click.version_option(package_name="vocabkit")(group)
    registry.add_commands(group)
    return group


def main() -> NoReturn:
    """Run the command line; every VocabkitError becomes one line and exit code 1."""
    code = 0
    try:
        result = build_cli(load_plugins()).main(standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except VocabkitError as error:
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        code = 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = 130
    except BrokenPipeError:
        # Whoever read the output has gone, `head` for example; that is no failure of ours.
        sys.stderr.close()
    sys.exit(code)
