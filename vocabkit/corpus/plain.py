"""Read plain text: every line is a document, of any length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from vocabkit.corpus.blocks import BLOCK_BYTES
from vocabkit.corpus.clean import decode
from vocabkit.corpus.problems import Problems
from vocabkit.corpus.text import Text

# How far back from the end of a block a place between words is looked for, to cut a long line there.
CUT_BYTES = 1 << 16
EMPTY_LINES = re.compile("\n\n+")


def read_plain(blocks: Iterable[bytes], path: str, problems: Problems) -> Iterator[Text]:
    """Yield blocks of whole lines, and long lines in pieces of which all but the first have `starts=False`.

    Of a line that is bad the whole is skipped, but of a long one only the piece: the rest is already handed out.
    """
    lost = False
    for offset, data, starts in _cut(blocks):
        begins = starts or lost
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            text, starts = _mend(data, offset, starts, path, problems)
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if "\n\n" in text:
            text = EMPTY_LINES.sub("\n", text)
        lines = text.strip("\n")
        if lines:
            # A line whose beginning was skipped begins here: it does not go on with the line before.
            yield Text(lines, starts=starts or lost or text[0] == "\n", lines=True)
        lost = begins and not lines


def _cut(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """Yield offset, bytes and whether a line starts there: up to the last line break, or within a long line."""
    offset, held, starts = 0, b"", True
    for block in blocks:
        data = held + block
        end = data.rfind(b"\n") + 1
        if end == 0:
            if len(data) < BLOCK_BYTES:
                held = data
                continue
            end = _place_to_cut(data)
        yield offset, data[:end], starts
        starts = data[end - 1 : end] == b"\n"
        offset += end
        held = data[end:]
    if held:
        yield offset, held.removesuffix(b"\r"), starts


def _place_to_cut(data: bytes) -> int:
    """Return where to cut a line: before its last space, behind its last punctuation, or between characters.

    A space belongs to the word behind it, as tokenizers have it.
    """
    space = max(data.rfind(b" ", -CUT_BYTES), data.rfind(b"\t", -CUT_BYTES))
    if space > 0:
        return space
    # Chinese and Thai have none.  Distinct characters are few; those of bytes that are not valid are not looked at.
    distinct = set(data[-CUT_BYTES:].decode(errors="ignore"))
    place = max((_beside(data, c) for c in distinct if unicodedata.category(c)[0] in "PZ"), default=0)
    if place > 0:
        return place
    # Bytes 10xxxxxx go on with a character, which has at most four bytes.  The last one stays behind: it may be
    # the "\r" of a line break.
    for end in range(len(data) - 1, len(data) - 5, -1):
        if data[end] & 0xC0 != 0x80:
            return end
    return len(data)


def _beside(data: bytes, mark: str) -> int:
    """Return the place before the last `mark` of `data` if it is a space, behind it if it is punctuation."""
    encoded = mark.encode()
    return data.rfind(encoded, -CUT_BYTES) + (0 if mark.isspace() else len(encoded))


def _mend(data: bytes, offset: int, starts: bool, path: str, problems: Problems) -> tuple[str, bool]:
    """Return the good lines of `data`, or all with U+FFFD, and whether the first of them starts a line."""
    good = []
    for number, line in enumerate(data.split(b"\n")):
        text = decode(line, path, "line", offset, problems)
        if text is not None:
            good.append(text)
        elif number == 0:
            starts = True
        offset += len(line) + 1
    return "\n".join(good), starts
