"""Read the small files that measurements are made of: JSON Lines and JSON, with where each record stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError


def read_text(path: Path) -> str:
    """Return the text of a file; raises VocabkitError when it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise VocabkitError(f"{path} is not UTF-8 (byte {error.start}); convert it first") from error
    except OSError as error:
        raise VocabkitError(f"{path} cannot be read: {error.strerror}") from error


def records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each record of a `.jsonl` or `.json` file stands, and the record.

    A `.json` file holds a list, {"results": [...]}, or one record.
    Raises VocabkitError with the line that is no JSON object.
    """
    content = read_text(path)
    found = _lines(content, path) if path.suffix == ".jsonl" else _document(content, path)
    for where, record in found:
        if not isinstance(record, dict):
            raise VocabkitError(f"{where} is no JSON object; write each record as {{...}}")
        yield where, record


def _lines(content: str, path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            yield f"{path} line {number}", _parse(line, f"{path} line {number}")


def _document(content: str, path: Path) -> Iterator[tuple[str, Any]]:
    document = _parse(content, str(path))
    if isinstance(document, dict):
        document = document.get("results", [document])
    if not isinstance(document, list):
        raise VocabkitError(f'{path} holds neither a record nor a list of them; write them as {{"results": [...]}}')
    for number, record in enumerate(document, 1):
        yield f"{path} record {number}", record


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    # Deep nesting exhausts the parser's stack.
    except (ValueError, RecursionError) as error:
        raise VocabkitError(f"{where} is not JSON ({error}); mend it") from error
