"""Tokens as something to look at: whatever is invisible or would disturb its surroundings gets a name."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from itertools import groupby

SPACE, CIRCLE = "▁", "◌"
NAMED = {" ": SPACE, SPACE: SPACE, "\n": "⏎", "\r": "␍", "\t": "⇥"}
# Inside words some scripts need them; elsewhere they are as invisible as other format characters.
JOINERS = "\u200c\u200d"
# Letters and marks that are drawn as nothing.
INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u180b\u180c\u180d\u180f"
# Visible in spite of their category: signs that stand under numbers in Arabic and Syriac text.
VISIBLE = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"
UNSHOWN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
# How bytes and characters that cannot be shown are named.
NAMES = re.compile(r"<0x[0-9A-F]{2}>|<U\+[0-9A-F]{4,6}>")
_PUNCTUATION = re.compile(r"([\\`*_\[\]<>|~&$])")


def shown(token: bytes | str) -> list[tuple[str, bool]]:
    """Return a token in parts: (text, whether the text only names what is there).

    b"\\xe4\\xbd" -> [("<0xE4>", True), ("<0xBD>", True)], "a\\u202e" -> [("a", False), ("<U+202E>", True)]
    """
    text = token.decode("utf-8", errors="surrogateescape") if isinstance(token, bytes) else token
    parts: list[tuple[str, bool]] = []
    for number, character in enumerate(text):
        name = _name(character, text[number - 1 : number], text[number + 1 : number + 2])
        parts.append((character, False) if name is None else (name, True))
    merged: list[tuple[str, bool]] = []
    for is_named, group in groupby(parts, key=lambda part: part[1]):
        if is_named:
            merged += group
        else:
            run = "".join(part for part, _ in group)
            # A mark at the beginning would be drawn onto its neighbour.
            merged.append((CIRCLE + run if unicodedata.category(run[0])[0] == "M" else run, False))
    return merged


def plain(token: bytes | str) -> str:
    """Return a token as one line of visible text: b" \\xe4" -> "▁<0xE4>"."""
    return "".join(text for text, _ in shown(token))


def as_html(token: bytes | str) -> str:
    """Return a token as HTML; what only names something is in <i>."""
    return "".join(f"<i>{html.escape(text)}</i>" if is_name else html.escape(text) for text, is_name in shown(token))


def as_line(text: str) -> str:
    """Return a line of ordinary text as HTML: spaces stay spaces."""
    return " ".join(as_html(part) if part else "" for part in text.split(" "))


def as_text(text: str) -> str:
    """Return a line of ordinary text as a line of visible text: spaces stay spaces."""
    return " ".join(plain(part) for part in text.split(" "))


def as_markdown(text: str) -> str:
    """Return a line of text for a cell of a Markdown table, every mark that could mean something escaped."""
    return _PUNCTUATION.sub(r"\\\1", as_text(text))


def direction(text: str) -> str:
    """Return "rtl" for text that begins in a script written from right to left, else "ltr"."""
    strong = (kind for kind in map(unicodedata.bidirectional, text) if kind in ("L", "R", "AL"))
    return "ltr" if next(strong, "L") == "L" else "rtl"


def as_script(data: object) -> str:
    """Return data as JSON that may stand inside a <script> of HTML; it never ends it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _name(character: str, before: str, after: str) -> str | None:
    """Return how to write a character that cannot be shown as it is, None when it can."""
    if character in NAMED:
        return NAMED[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"<0x{code - 0xDC00:02X}>"
    if character in VISIBLE:
        return None
    if character in JOINERS:
        is_inside = bool(before and after) and all(unicodedata.category(c)[0] in "LM" for c in before + after)
        return None if is_inside else f"<U+{code:04X}>"
    if unicodedata.category(character) in UNSHOWN or character in INVISIBLE:
        return f"<U+{code:04X}>"
    # A variation selector is drawn with what it follows, or not at all.
    if (0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF) and not before:
        return f"<U+{code:04X}>"
    return None
