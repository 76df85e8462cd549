"""What can go wrong, as types.

VocabkitError            anything a user can mend; printed as one line, exit code 1
├── UnknownNameError     a language, merger, reader or recipe that is not installed
├── PluginError          what a plugin offers, and raised something unexpected when it was used
├── BadTextError         text that cannot be read under the chosen policy
├── TooLittleTextError   a corpus that supports fewer tokens than asked for
├── TokenizerError       a tokenizer that cannot be opened, extended or written
└── CheckpointError      weights that cannot be read, extended or written

A message says what happened, with the value, and then what to do about it.
Everything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VocabkitError(Exception):
    """Something the user can mend; `str(error)` is one line."""


class UnknownNameError(VocabkitError):
    """A name that no plugin offers; the message names the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")
        self.name = name


class PluginError(VocabkitError):
    """Code of a plugin that raised something unexpected; the message names the plugin and the exception."""


class BadTextError(VocabkitError):
    """Text that is not valid under `--on-bad-text error`, with its file and offset."""


class TooLittleTextError(VocabkitError):
    """A corpus that supports only `supported` tokens."""

    def __init__(self, message: str, supported: int) -> None:
        super().__init__(message)
        self.supported = supported


class TokenizerError(VocabkitError):
    """A tokenizer file that cannot be opened, understood, extended or written."""


class CheckpointError(VocabkitError):
    """A model's weights or config that cannot be read, understood, extended or written."""


def described(error: BaseException) -> str:
    """Return an exception of somebody else's code on one short line: "KeyError: 'lost'"."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}{'...' if len(text) > 160 else ''}" if text else type(error).__name__
