"""Plain text: one line is one document, lines of any length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from vocabkit.corpus.problems import Problems
from vocabkit.corpus.text import Text

# A longer line is handed out in pieces, cut after white space where there is some.
LONGEST_PIECE = 1 << 20
_LAST_SPACE = re.compile(rb".*\s", re.DOTALL)


def read_plain(blocks: Iterable[bytes], path: str, problems: Problems) -> Iterator[Text]:
    """Yield blocks of whole lines; a line beyond a mebibyte in pieces, of which a bad one is dropped alone."""
    rest = b""
    offset = 0
    goes_on = False
    for block in blocks:
        rest += block
        end = rest.rfind(b"\n") + 1
        if not end and len(rest) >= LONGEST_PIECE:
            end = _cut_of(rest)
            yield from _piece(rest[:end], path, offset, problems, starts=not goes_on)
            goes_on = True
        elif end:
            if goes_on:
                first = rest.index(b"\n") + 1
                yield from _piece(rest[:first], path, offset, problems, starts=False)
                yield from _lines(rest[first:end], path, offset + first, problems)
            else:
                yield from _lines(rest[:end], path, offset, problems)
            goes_on = False
        rest = rest[end:]
        offset += end
    if goes_on:
        yield from _piece(rest, path, offset, problems, starts=False)
    else:
        yield from _lines(rest, path, offset, problems)


def decode(line: bytes, path: str, offset: int, problems: Problems) -> str | None:
    """Return a line as text; a bad one as the policy says, None when it is skipped."""
    bad = []
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        bad.append(("invalid UTF-8", error.start))
        text = line.decode("utf-8", errors="replace")
    if "\0" in text:
        bad.append(("NUL character", line.index(b"\0")))
        text = text.replace("\0", "\ufffd")
    for kind, place in bad:
        problems.add(path, kind, offset + place)
    return None if bad and problems.policy == "skip" else text


def _lines(data: bytes, path: str, offset: int, problems: Problems) -> Iterator[Text]:
    if not data.strip():
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        kept = []
        for line in data.splitlines(keepends=True):
            decoded = decode(line, path, offset, problems)
            if decoded is not None:
                kept.append(decoded)
            offset += len(line)
        text = "".join(kept)
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if text:
        yield Text(text.removesuffix("\n"), lines=True)


def _piece(data: bytes, path: str, offset: int, problems: Problems, *, starts: bool) -> Iterator[Text]:
    text = decode(data, path, offset, problems)
    if text:
        yield Text(text.rstrip("\r\n") if text.endswith("\n") else text, starts=starts)


def _cut_of(data: bytes) -> int:
    """Return where to cut a long line: after its last white space, else before an incomplete character."""
    match = _LAST_SPACE.match(data)
    if match and match.end() > len(data) // 2:
        return match.end()
    end = len(data)
    for back in range(1, 4):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return end if length <= back else end - back
        if byte < 0x80:
            return end
    return end
