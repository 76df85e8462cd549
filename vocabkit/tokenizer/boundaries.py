"""Where a byte-level base can never join two letters, so that a text is segmented from few distinct parts.

A merge crosses the boundary between two characters only to make a token that spans it.  Where no token of the base
ends a part of itself with the one letter (or its last bytes) and goes on with the other (or its first bytes), nothing
can ever cross, whatever stands around: the text may be cut there, each distinct part segmented once, and the results
put together.  A base made for English knows hardly any token across two Han characters, so nearly every part is one
character.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# Han that no normaliser composes and that every pre-tokenizer takes for plain letters.
FIRST_LETTER, LAST_LETTER = "\u4e00", "\u9fa5"
# Marks between clauses: with them most of a text falls into parts that repeat.
MARKS = "，。、；：？！）》」』”’"


class Boundaries:
    """The hard boundaries of a base, between letters of the text.

    tokens: the bytes of every token of the base.
    cut_before: marks before which the pre-tokenizer cuts when they stand alone between two letters.
    """

    def __init__(self, tokens: Iterable[bytes | None], cut_before: Iterable[str]) -> None:
        self._cut_before = frozenset(cut_before)
        self._ends: set[bytes] = set()
        self._begins: set[bytes] = set()
        for token in tokens:
            if token is not None:
                for place in range(1, len(token)):
                    if not 0x80 <= token[place] < 0xC0:
                        self._ends.add(_last(token[:place]))
                        self._begins.add(_first(token[place:]))

    def cut(self, text: str) -> NDArray[np.intp]:
        """Return the places in `text` before which it may be cut, in order: letters, and marks of `cut_before`."""
        codes = codes_of(text)
        present = np.flatnonzero(np.bincount(codes))
        ends, begins = (np.zeros(present[-1] + 1 if len(present) else 1, np.bool_) for _ in range(2))
        letters = np.zeros(len(ends), np.bool_)
        for code in present.tolist():
            character = chr(code)
            letters[code] = FIRST_LETTER <= character <= LAST_LETTER
            ends[code] = self._may_end(character.encode())
            begins[code] = self._may_begin(character.encode())
        before, after = codes[:-1], codes[1:]
        is_letter = letters[after]
        is_mark = self.is_cut(codes)[1:] & np.append(letters[after[1:]], False)
        hard = letters[before] & (is_letter | is_mark) & ~(ends[before] & begins[after])
        return np.flatnonzero(hard) + 1

    def is_cut(self, codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Return, for each code point, whether it is a mark before which the pre-tokenizer cuts."""
        return np.isin(codes, [ord(mark) for mark in self._cut_before])

    def _may_end(self, character: bytes) -> bool:
        return any(character[i:] in self._ends for i in range(len(character)))

    def _may_begin(self, character: bytes) -> bool:
        return any(character[:i] in self._begins for i in range(1, len(character) + 1))


def _last(data: bytes) -> bytes:
    """Return the last character of `data`, or what there is of it."""
    start = len(data) - 1
    while start > 0 and 0x80 <= data[start] < 0xC0:
        start -= 1
    return data[start:]


def _first(data: bytes) -> bytes:
    """Return the first character of `data`, or what there is of it."""
    end = 1
    while end < len(data) and 0x80 <= data[end] < 0xC0:
        end += 1
    return data[:end]


def codes_of(text: str) -> NDArray[np.uint32]:
    """Return the code points of `text`."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def parts_of(text: str, places: NDArray[np.intp]) -> tuple[list[str], NDArray[np.intp]]:
    """Return the distinct parts of `text` cut at `places`, and which of them stands at each place."""
    ends = np.append(places[1:], len(text))
    is_single = ends - places == 1
    which = np.empty(len(places), np.intp)
    codes = codes_of(text)[places[is_single]]
    present = np.flatnonzero(np.bincount(codes))
    number_of = np.zeros(present[-1] + 1 if len(present) else 1, np.intp)
    number_of[present] = np.arange(len(present))
    which[is_single] = number_of[codes]
    parts = [chr(code) for code in present.tolist()]
    numbers: dict[str, int] = {}
    longer = zip(places[~is_single].tolist(), ends[~is_single].tolist(), strict=True)
    found = [numbers.setdefault(text[start:end], len(parts) + len(numbers)) for start, end in longer]
    which[~is_single] = found
    return parts + list(numbers), which


def assembled(
    segments: Sequence[NDArray[np.int32]], which: NDArray[np.intp]
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return the segments of the parts, one after the other, and the place that each position came from."""
    lengths = np.array([len(segment) for segment in segments], np.intp)
    starts = np.cumsum(lengths) - lengths
    each = lengths[which]
    place = np.repeat(np.arange(len(which)), each)
    within = np.arange(len(place)) - np.repeat(np.cumsum(each) - each, each)
    return np.concatenate(segments)[np.repeat(starts[which], each) + within], place
