"""What several languages share: composed characters, words between spaces, and syllables by a plain rule."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import groupby

# Format characters that Indic and Arabic scripts need inside words.
JOINERS = "\u200c\u200d"
BY_SPACES = "white space and marks"


def compose(text: str) -> str:
    """Return `text` in Unicode's composed form (NFC): "\u1112\u1161\u11ab" -> "한"."""
    return unicodedata.normalize("NFC", text)


def words(text: str) -> list[str]:
    """Cut where white space or marks begin and end: "سلام، دنیا" -> ["سلام", "،", " ", "دنیا"]."""
    return ["".join(run) for _, run in groupby(text, key=_kind)]


def syllables(pattern: str) -> Callable[[str], list[str]]:
    """Return a function that cuts text into matches of `pattern` and whatever stands between them."""
    cut = re.compile(f"({pattern})")

    def segment(text: str) -> list[str]:
        return [piece for piece in cut.split(text) if piece]

    return segment


def _kind(character: str) -> str:
    """Return "" for white space, "P" for a mark, "L" for everything that words are made of."""
    if character.isspace():
        return ""
    return "P" if unicodedata.category(character)[0] in "PS" else "L"
