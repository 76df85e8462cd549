"""Read texts that a model wrote, with what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError


@dataclass(frozen=True)
class Answer:
    """A text, and the prompt that led to it, "" where it is not known."""

    text: str
    prompt: str = ""


def read_answers(path: Path, *, field: str = "text", prompt_field: str = "prompt") -> list[Answer]:
    """Return the answers in a file: JSON Lines, what `vocabkit generate --json` prints, or a text on each line.

    A record may hold a conversation in `messages` instead of a prompt.  Empty lines of plain text are no answers.
    Raises VocabkitError with the line when a record cannot be read or has no such field, and when there are none.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise VocabkitError(f"{path} is not UTF-8 (byte {error.start}); convert it first") from error
    except OSError as error:
        raise VocabkitError(f"{path} cannot be read: {error.strerror}") from error
    if path.suffix == ".jsonl":
        found = [_answer(record, where, field, prompt_field) for where, record in _lines(content, path)]
    elif path.suffix == ".json":
        found = [_answer(record, where, field, prompt_field) for where, record in _records(content, path)]
    else:
        found = [Answer(line) for line in content.split("\n") if line.strip()]
    if not found:
        raise VocabkitError(f"{path} holds no answer; write one record or one text on each line")
    return found


def _lines(content: str, path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            yield f"{path} line {number}", _parse(line, f"{path} line {number}")


def _records(content: str, path: Path) -> Iterator[tuple[str, Any]]:
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


def _answer(record: Any, where: str, field: str, prompt_field: str) -> Answer:
    if not isinstance(record, dict):
        raise VocabkitError(f"{where} is no JSON object; write a record with the field {field!r}")
    text = record.get(field)
    if not isinstance(text, str):
        fields = ", ".join(map(repr, record)) or "none"
        raise VocabkitError(
            f"{where} has no text in the field {field!r} (its fields: {fields}); name it with --field"
        )
    prompt = record.get(prompt_field)
    if prompt is None and isinstance(record.get("messages"), list):
        said = (message.get("content") for message in record["messages"] if isinstance(message, dict))
        prompt = "\n".join(content for content in said if isinstance(content, str))
    return Answer(text, prompt if isinstance(prompt, str) else "")
