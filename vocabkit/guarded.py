"""Say whose code failed: what a plugin offers is called through these, and what it raises becomes one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from vocabkit.errors import PluginError, VocabkitError, described

if TYPE_CHECKING:
    import click


def guarded(function: Callable[..., Any], what: str, module: str) -> Callable[..., Any]:
    """Return `function`, whose unexpected exceptions are PluginErrors; so are those of an iterator that it returns.

    what: what failed then, "corpus reader 'x' of plugin 'y'".
    module: the plugin's; the message says which of its lines raised.
    A VocabkitError is passed on: it says what to do already.
    """

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with _named(what, module):
            result = function(*arguments, **options)
        return _guarded_items(result, what, module) if isinstance(result, Iterator) else result

    return call


def guard_command(command: click.Command, what: str, module: str) -> None:
    """Guard a command and those below it; it may still exit, abort, or report misuse as any command of click."""
    import click

    theirs = (click.ClickException, click.exceptions.Exit, click.Abort, EOFError, BrokenPipeError, SystemExit)
    for name in ("make_context", "invoke"):
        setattr(command, name, _guarded_method(getattr(command, name), what, module, theirs))


def _guarded_method(
    method: Callable[..., Any], what: str, module: str, passed_on: tuple[type[BaseException], ...]
) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        with _named(what, module, passed_on):
            return method(*arguments, **options)

    return call


def _guarded_items(items: Iterator[Any], what: str, module: str) -> Iterator[Any]:
    with _named(what, module):
        yield from items


@contextmanager
def _named(what: str, module: str, passed_on: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    try:
        yield
    # Any exception at all may come out of somebody else's code.
    except (Exception, SystemExit) as error:
        if isinstance(error, (VocabkitError, *passed_on)):
            raise
        raise PluginError(
            f"{what} failed: {described(error)}{_place(error, module)}; mend it, or tell its author"
        ) from error


def _place(error: BaseException, module: str) -> str:
    """Return the last line of the plugin's own that the exception passed: " (vocabkit_x.py, line 12)"."""
    package = module.partition(".")[0]
    own = [
        (frame.f_code.co_filename, line)
        for frame, line in walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package
    ]
    return f" ({Path(own[-1][0]).name}, line {own[-1][1]})" if own else ""
