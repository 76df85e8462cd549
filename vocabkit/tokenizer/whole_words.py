"""How many words of a language a base's pre-tokenizer leaves in one piece: no token can span what it cuts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from vocabkit.language import Language
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_level_bpe import ByteLevelBpe


@dataclass(frozen=True)
class WholeWords:
    """words: words of two characters or more, as often as they occur.  whole: those that are cut nowhere."""

    words: int
    whole: int

    @property
    def share(self) -> float:
        """The share of words in one piece; 1 when there are none."""
        return self.whole / self.words if self.words else 1.0


def whole_words(tokenizer: Tokenizer, language: Language, lines: Iterable[str]) -> WholeWords | None:
    """Return how many words of `lines` are in one piece; None for a family that cuts by no pattern.

    Words are those of the language's `segment`, else runs between white space and marks; only those count that hold
    a letter or a mark of its scripts.
    """
    if not isinstance(tokenizer, ByteLevelBpe):
        return None
    words = whole = 0
    for line in lines:
        text = tokenizer.normalized(line)
        cuts = tokenizer.cuts(text)
        for start, end in _words(language, text):
            words += 1
            whole += cuts.isdisjoint(range(start + 1, end))
    return WholeWords(words, whole)


def texts_of(language: Language) -> list[str]:
    """Return the lines of text that a language brings itself."""
    return [line for line in (*language.samples, *language.evaluation_text.splitlines()) if line]


def _words(language: Language, text: str) -> Iterator[tuple[int, int]]:
    """Yield where each word of two characters or more begins and ends."""
    end = 0
    for piece in language.run("segment", text) if language.segment else _runs(text):
        start, end = end, end + len(piece)
        first, last = start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
        if last - first > 1 and any(language.owns(c) and unicodedata.category(c)[0] in "LM" for c in piece):
            yield first, last


def _runs(text: str) -> list[str]:
    return ["".join(run) for _, run in groupby(text, key=_kind)]


def _kind(character: str) -> str:
    if character.isspace():
        return ""
    return "P" if unicodedata.category(character)[0] in "PS" else "L"
