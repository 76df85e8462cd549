"""Cut text into the spans that new tokens are learned from, and say which tokens may be learned."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

from vocabkit.language import Language
from vocabkit.tokenizer.base import Preparer

# Format characters that some scripts need inside words; every other one is invisible and never learned.
JOINERS = "\u200c\u200d"
# What prose sets beside its own marks, without the signs that special tokens and markup are made of.
ASCII_MARKS = "!\"'(),-.:;?[]~"
# Runs of shared marks longer than this are seldom one token, and every one costs a look ahead for what follows.
MARKS_BESIDE = 8


@dataclass
class SpanCutter:
    """Cuts prepared text into runs of the language's characters; picklable, for worker processes.

    A span is a run of the language's characters and its punctuation, with the word-boundary mark before it,
    and holds at least one character of the language's scripts.  ASCII marks are part of it where they stand
    beside a mark of those scripts, as in `。(`, and a joiner where it stands before one of the language's
    characters, as in `ශ්\u200dරී`.  Nothing is learned across its ends, so text without the scripts
    has no span and can never change.
    """

    preparer: Preparer
    language: Language
    normalize: bool = False

    def __post_init__(self) -> None:
        # Only what is needed travels to worker processes: a plugin's segmenter may not be picklable.
        normalize = self.language.normalize if self.normalize else None
        self.language = replace(self.language, segment=None, normalize=normalize)

    def __call__(self, text: str, starts: bool, lines: bool) -> list[str]:
        """Return the spans of `text`.

        starts: `text` begins a document (else it goes on with one).  lines: so does every line of it.
        """
        if self.language.normalize:
            text = self.language.run("normalize", text)
        return self._pattern.findall(self.preparer(text, starts, lines))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        own = own_characters(self.language)
        marks = own_marks(self.language.scripts)
        inside, before = [f"[{own}{re.escape(self.language.punctuation)}]", f"[{JOINERS}](?=[{own}])"], []
        if marks:
            ascii_marks = f"[{re.escape(ASCII_MARKS)}]{{1,{MARKS_BESIDE}}}"
            before.append(f"{ascii_marks}(?=[{marks}])")
            inside += [f"(?<=[{marks}]){ascii_marks}", *before]
        if self.language.punctuation:
            before.append(f"[{re.escape(self.language.punctuation)}]{{1,{MARKS_BESIDE}}}")
        leading = f"(?:{'|'.join(before)}){{0,2}}" if before else ""
        return re.compile(f"(?:{re.escape(self.preparer.mark)})?{leading}[{own}](?:{'|'.join(inside)})*")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_pattern"}


@dataclass
class TokenRules:
    """Decides whether a token may be learned.

    Refused: tokens without a character of the language's scripts, longer than `max_length` characters (the
    word-boundary mark not counted), several characters with a digit among them (models split numbers on
    purpose), ASCII marks beside letters (they carry the syntax of code and of JSON), control, bidirectional,
    private or surrogate characters, and look-alikes of special tokens.
    bridges: whether the beginning of a character may be learned where the base spells it with three tokens.
    """

    language: Language
    mark: str
    special_tokens: Collection[str]
    max_length: int
    bridges: bool = True

    def __call__(self, token: bytes) -> bool:
        try:
            text = token.decode()
        except UnicodeDecodeError as error:
            return self.bridges and self._is_bridge(token, error)
        letters = text.removeprefix(self.mark)
        if len(letters) > self.max_length or not self._own.search(letters):
            return False
        categories = {unicodedata.category(c) for c in letters if c not in JOINERS}
        if categories & {"Cc", "Cf", "Cs", "Co", "Cn"} or (len(letters) > 1 and "Nd" in categories):
            return False
        if any(c in letters for c in ASCII_MARKS) and any(c[0] in "LMN" for c in categories):
            return False
        return not any(letters in special or special in letters for special in self.special_tokens)

    def _is_bridge(self, token: bytes, error: UnicodeDecodeError) -> bool:
        """Allow the beginning of a character when every character that begins so is the language's own.

        The word-boundary mark may stand before it: some bases join a space with the first byte of a character.
        """
        before, prefix = token[: error.start], token[error.start :]
        if before not in (b"", self.mark.encode()) or error.reason != "unexpected end of data":
            return False
        first, last = _range_of_prefix(prefix)
        return any(low <= first and last <= high for low, high in self.language.scripts)

    @cached_property
    def _own(self) -> re.Pattern[str]:
        return re.compile(f"[{own_characters(self.language)}]")


def own_characters(language: Language) -> str:
    """Return the language's scripts as the inside of a regular expression's character class."""
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in language.scripts)


@lru_cache
def own_marks(scripts: tuple[tuple[int, int], ...]) -> str:
    """Return the punctuation and symbols among `scripts` as the inside of a regular expression's character class."""
    marks = [
        code
        for first, last in scripts
        for code in range(first, last + 1)
        if unicodedata.category(chr(code))[0] in "PS"
    ]
    starts = [code for before, code in pairwise([-1, *marks]) if code != before + 1]
    ends = [code for code, after in pairwise([*marks, -1]) if after != code + 1]
    return "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in zip(starts, ends, strict=True))


def _range_of_prefix(prefix: bytes) -> tuple[int, int]:
    """Return the first and last code point whose UTF-8 begins with `prefix`: b"\\xe4\\xbd" -> (0x4F40, 0x4F7F)."""
    length = 2 if prefix[0] < 0xE0 else 3 if prefix[0] < 0xF0 else 4
    value = prefix[0] & (0xFF >> (length + 1))
    for byte in prefix[1:]:
        value = value << 6 | byte & 0x3F
    missing = 6 * (length - len(prefix))
    return value << missing, (value + 1 << missing) - 1
