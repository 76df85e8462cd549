"""Turn bytes and foreign strings into text that is valid, under the policy for bad text."""

from __future__ import annotations

import re

from vocabkit.corpus.problems import INVALID_UTF8, NUL, Problems

SURROGATES = re.compile("[\ud800-\udfff]")


def decode(data: bytes, path: str, unit: str, offset: int, problems: Problems) -> str | None:
    """Return the text of `data`, None when it must be skipped.

    offset: where `data` begins in the file, for the message.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        problems.bad(path, unit, INVALID_UTF8, offset + error.start, error.reason)
        if not problems.replaces:
            return None
        text = data.decode(errors="replace")
    return _without_nul(text, path, unit, offset, problems)


def clean(text: str, path: str, unit: str, offset: int | None, problems: Problems) -> str | None:
    """Return `text` without lone surrogates and NUL, None when it must be skipped."""
    try:
        text.encode()
    except UnicodeEncodeError:
        problems.bad(path, unit, INVALID_UTF8, offset, "half of a surrogate pair")
        if not problems.replaces:
            return None
        text = SURROGATES.sub("\ufffd", text)
    return _without_nul(text, path, unit, offset, problems)


def _without_nul(text: str, path: str, unit: str, offset: int | None, problems: Problems) -> str | None:
    place = text.find("\0")
    if place < 0:
        return text
    problems.bad(path, unit, NUL, None if offset is None else offset + len(text[:place].encode()))
    return text.replace("\0", "\ufffd") if problems.replaces else None
