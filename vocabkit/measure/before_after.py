"""Tokens per character of texts, and of the scripts in them, with a base and with what was made of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from vocabkit.tokenizer.base import Tokenizer, chunks

LINES_PER_BATCH = 4096
SIGNS, DIGITS, OTHER = "signs and spaces", "digits", "other"
# Words before the script in a character's name.
VARIANTS = ("HALFWIDTH", "FULLWIDTH", "SMALL", "MODIFIER", "CIRCLED", "PARENTHESIZED", "MATHEMATICAL")
RENAMED = {"CJK": "Han", "IDEOGRAPHIC": "Han", "KANGXI": "Han"}


@dataclass(frozen=True)
class Length:
    """What a text, or a script in it, takes.  before, after: tokens; fractions where a token spans two scripts."""

    name: str
    characters: int
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """Tokens after, in units of those before."""
        return self.after / self.before if self.before else 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {**asdict(self), "before": round(self.before, 2), "after": round(self.after, 2)}


def lengths_by_text(
    base: Tokenizer, candidate: Tokenizer, texts: Sequence[tuple[str, Sequence[str]]]
) -> list[Length]:
    """Return a row for each (name, lines); line breaks are not counted."""
    return [
        Length(name, sum(map(len, lines)), _count(base, lines), _count(candidate, lines)) for name, lines in texts
    ]


def lengths_by_script(base: Tokenizer, candidate: Tokenizer, lines: Sequence[str]) -> list[Length]:
    """Return a row for each script in `lines`, that of the most characters first.

    A token counts for each script by the share of its bytes there.  Characters are those of the normalised text.
    """
    characters, before = _by_script(base, lines)
    _, after = _by_script(candidate, lines)
    names = sorted(characters, key=lambda name: (-characters[name], name))
    return [Length(name, characters[name], before.get(name, 0.0), after.get(name, 0.0)) for name in names]


@cache
def script_of(character: str) -> str:
    """Return the script of a character, as its Unicode name begins: "中" -> "Han", "ཀ" -> "Tibetan".

    Digits of any script are "digits"; punctuation, symbols and white space are "signs and spaces".
    A combining mark without a script of its own is "", it goes with what is before it.
    """
    category = unicodedata.category(character)
    if category in ("Nd", "No"):
        return DIGITS
    if category[0] not in "LMN":
        return SIGNS
    words = unicodedata.name(character, "").replace("-", " ").split()
    while words and words[0] in VARIANTS:
        words.pop(0)
    if not words:
        return OTHER
    if words[0] in ("COMBINING", "VARIATION"):
        return ""
    return RENAMED.get(words[0], OTHER if words[0] == "LETTER" else words[0].capitalize())


def _count(tokenizer: Tokenizer, lines: Sequence[str]) -> int:
    return sum(len(ids) for batch in chunks(lines, LINES_PER_BATCH) for ids in tokenizer.encode(batch))


def _by_script(tokenizer: Tokenizer, lines: Sequence[str]) -> tuple[dict[str, int], dict[str, float]]:
    """Return script -> characters, and script -> tokens."""
    characters: dict[str, int] = {}
    tokens: dict[str, float] = {}
    for batch in chunks(lines, LINES_PER_BATCH):
        for ids in tokenizer.encode(batch):
            known = [token for token in map(tokenizer.token_bytes, ids) if token]
            scripts: list[str] = []  # of every byte
            last = OTHER
            for character in b"".join(known).decode(errors="replace"):
                last = script_of(character) or last
                characters[last] = characters.get(last, 0) + 1
                scripts += [last] * len(character.encode())
            start = 0
            for token in known:
                # A byte that is no text has no script; the row of its neighbours is near enough.
                for script in scripts[start : start + len(token)]:
                    tokens[script] = tokens.get(script, 0.0) + 1 / len(token)
                start += len(token)
    return characters, tokens
