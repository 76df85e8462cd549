"""Read multiple-choice questions, in the files that C-Eval, CMMLU, MMLU and their kin come in."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.measure.records import read_text, records

LETTERS = "ABCDEFGHIJ"
SUFFIXES = (".csv", ".jsonl", ".json")
# What files add to the name of a subject.
SPLITS = re.compile(r"[_-](dev|val|validation|test|train)$")


@dataclass(frozen=True)
class Question:
    """A question with its choices.

    answer: the number of the right choice, None where the file does not say.
    where: file and line, to name it by.
    """

    subject: str
    text: str
    choices: tuple[str, ...]
    answer: int | None
    where: str

    @property
    def letters(self) -> str:
        """The letters of the choices: "ABCD"."""
        return LETTERS[: len(self.choices)]


def read_questions(path: Path) -> list[Question]:
    """Return the questions of a file, or of all files right in a folder; the name of a file is its subject.

    CSV with a header (question, A, B, ..., answer, in any case and order) or without (question, choices, answer);
    JSON Lines or a list in JSON (question; choices, or A, B, ...; answer as a letter, a number from 0, or text).
    Raises VocabkitError with the line that cannot be read, and when there is none.
    """
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES)
        if not files:
            raise VocabkitError(f"{path} holds no {', '.join(SUFFIXES)} file; name a folder of questions")
    else:
        files = [path]
    return [question for file in files for question in _read(file)]


def first_of_each(questions: Sequence[Question], count: int) -> dict[str, list[Question]]:
    """Return the first `count` questions of each subject, in their order."""
    found: dict[str, list[Question]] = {}
    for one in questions:
        some = found.setdefault(one.subject, [])
        if len(some) < count:
            some.append(one)
    return found


def _read(file: Path) -> list[Question]:
    subject = SPLITS.sub("", file.stem)
    rows = _of_csv(file) if file.suffix == ".csv" else records(file)
    found = [_question(record, subject, where) for where, record in rows]
    if not found:
        raise VocabkitError(f"{file} holds no question; write one on each line")
    return found


def _of_csv(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(read_text(file)), strict=True)
    header: list[str] | None = None
    first = True
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise VocabkitError(f"{file} line {reader.line_num} is no CSV ({error}); mend it") from error
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        if first:
            first = False
            names = [cell.strip().lower() for cell in row]
            if "question" in names:
                header = [name.upper() if len(name) == 1 else name for name in names]
                continue
        where = f"{file} line {reader.line_num}"
        if header is None:
            # MMLU's files have no header.
            names = ["question", *LETTERS[: len(row) - 2], "answer"] if 4 <= len(row) <= len(LETTERS) + 2 else []
        else:
            names = header
        if len(row) != len(names):
            raise VocabkitError(
                f"{where} has {len(row)} cells and not {len(names) or 'question, choices and answer'}; mend it"
            )
        yield where, dict(zip(names, row, strict=True))


def _question(record: Mapping[str, Any], subject: str, where: str) -> Question:
    text = record.get("question")
    if not isinstance(text, str) or not text.strip():
        raise VocabkitError(f"{where} has no text in `question`; add it")
    choices, names = _choices(record, where)
    said = next((record[key] for key in ("answer", "answerKey", "label") if record.get(key) not in (None, "")), None)
    own = record.get("subject")
    answer = None if said is None else _answer(said, choices, names, where)
    return Question(own if isinstance(own, str) and own else subject, text.strip(), choices, answer, where)


def _choices(record: Mapping[str, Any], where: str) -> tuple[tuple[str, ...], Sequence[str]]:
    """Return the choices and what an answer may call them."""
    given = record.get("choices", record.get("options"))
    names: Sequence[str] = LETTERS
    if isinstance(given, Mapping) and isinstance(given.get("text"), list):
        labels = given.get("label")
        given, names = given["text"], [str(one) for one in labels] if isinstance(labels, list) else LETTERS
    elif isinstance(given, Mapping):
        given, names = list(given.values()), [str(one) for one in given]
    elif given is None:
        # A file for four choices leaves the cells of a fifth empty.
        given = [record[letter] for letter in LETTERS if record.get(letter) not in (None, "")]
    if not isinstance(given, list) or not 2 <= len(given) <= len(LETTERS):
        raise VocabkitError(f"{where} has no choices; write them in `choices`, or in columns A, B, ...")
    if not all(isinstance(one, str | int | float) for one in given):
        raise VocabkitError(f"{where} has a choice that is no text; write each as a string")
    return tuple(str(one).strip() for one in given), names


def _answer(said: Any, choices: tuple[str, ...], names: Sequence[str], where: str) -> int:
    known = list(names)[: len(choices)]
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < len(choices):
        return said
    if isinstance(said, str):
        text = said.strip()
        if text in known:
            return known.index(text)
        if text.upper() in known:
            return known.index(text.upper())
        if choices.count(text) == 1:
            return choices.index(text)
    raise VocabkitError(f"{where} has the answer {said!r}, which is none of {', '.join(known)}; mend it")
