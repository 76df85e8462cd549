"""What every corpus reader yields: a piece of a document."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text.

    weight: how many times it occurs (word lists).
    starts: it begins a document; False when it goes on with the document of the piece before it, and for the
        words of a list, which may stand anywhere in a text.
    lines: every line of `text` is a document of its own.  Plain text comes as blocks of many lines, because
        an object per line would cost more than reading it; `starts` then speaks of the first line only.
    """

    text: str
    weight: int = 1
    starts: bool = True
    lines: bool = False
