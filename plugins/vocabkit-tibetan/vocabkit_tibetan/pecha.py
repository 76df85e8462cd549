"""Read pecha texts as they are typed from woodblock prints: `pecha:FILE`, `pecha:FOLDER`.

A line of such a file is a line of the print, and ends anywhere; folio numbers stand in brackets, and every leaf
begins with a head mark.  Learned from as it is, a corpus would teach the layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from vocabkit import VocabkitError
from vocabkit.corpus import Text

# [1a], [23b], [23b.4], [p. 117]: the folio or page, its side, and the line of the print.
FOLIO = re.compile(r"[\[{(]\s*(?:p\.?\s*)?\d+[ab]?(?:[.:]\d+)?\s*[\]})]")
# ༄༅། ། at the head of a leaf, and its ornamented relatives.
HEAD_MARK = re.compile("[\u0f01-\u0f07]+[\u0f0d\u0f0e\u0f11\\s]*")

SHADS = ("\u0f0d", "\u0f0e", "\u0f11")
# A volume may have no empty line at all.
LINES_AT_A_TIME = 4_096


def read_pecha(name: str) -> Iterator[Text]:
    """Yield the paragraphs of a file, or of every .txt file below a folder, without marks of the print.

    An empty line ends a paragraph, and so a document.
    Raises VocabkitError when there is no such file, or a folder holds none.
    """
    path = Path(name).expanduser()
    if not path.exists():
        raise VocabkitError(f"pecha:{name} does not exist; name a file, or a folder of .txt files")
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise VocabkitError(f"pecha:{name} holds no .txt file; name the folder that holds the texts")
    for file in files:
        # Bytes that are no text become surrogates, by which vocabkit counts and skips the paragraph.
        with file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            yield from _paragraphs(lines)


def without_print(line: str) -> str:
    """Return a line of the print without its marks: "[1b.2] ༄༅། །བོད་ཀྱི་" -> "བོད་ཀྱི་"."""
    return HEAD_MARK.sub("", FOLIO.sub("", line)).strip()


def _paragraphs(lines: Iterable[str]) -> Iterator[Text]:
    """Yield paragraphs, a long one in pieces of which all but the first go on with it."""
    parts: list[str] = []
    starts = True
    for line in chain(lines, [""]):
        part = without_print(line)
        if part:
            # Lines of the print are joined as they would be written: a space follows a shad, and nothing a tsheg.
            parts.append(" " + part if parts and parts[-1].endswith(SHADS) else part)
        is_end = not line.strip()
        if parts and (is_end or len(parts) == LINES_AT_A_TIME):
            yield Text("".join(parts), starts=starts)
            starts, parts = is_end, []
        elif is_end:
            starts = True
