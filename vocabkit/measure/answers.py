"""Read texts that a model wrote, with what it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.measure.records import read_text, records


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
    if path.suffix in (".jsonl", ".json"):
        found = [_answer(record, where, field, prompt_field) for where, record in records(path)]
    else:
        found = [Answer(line) for line in read_text(path).split("\n") if line.strip()]
    if not found:
        raise VocabkitError(f"{path} holds no answer; write one record or one text on each line")
    return found


def _answer(record: dict[str, Any], where: str, field: str, prompt_field: str) -> Answer:
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
