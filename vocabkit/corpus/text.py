"""A piece of text on its way from a file to the counter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text.

    weight: how often it occurs; word lists have words that occur millions of times.
    starts: it begins a document; False when it goes on with the piece before it, and for the words of a list, which
        stand anywhere in a text.
    lines: every line of it is a document of its own (plain text files come in blocks of whole lines).
    """

    text: str
    weight: int = 1
    starts: bool = True
    lines: bool = False
