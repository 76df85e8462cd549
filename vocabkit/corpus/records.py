"""Read JSON Lines and word lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from vocabkit.corpus.blocks import read_lines
from vocabkit.corpus.clean import clean, decode
from vocabkit.corpus.problems import Problems
from vocabkit.corpus.text import Text
from vocabkit.errors import VocabkitError

MAX_RECORD_BYTES = 64 << 20
# A count that fits in 64 bits; int() would also take "1_0", " 7" and "٣".
COUNT = re.compile("[0-9]{1,18}")


def read_objects(blocks: Iterable[bytes], path: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the offset and the object of every record."""
    for offset, record in _parsed(blocks, path, problems):
        if isinstance(record, dict):
            yield offset, record
        else:
            problems.bad(path, "record", "no JSON object", offset)


def read_array(data: bytes, path: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of every record of a JSON array."""
    try:
        records = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise VocabkitError(
            f"{path} is not valid JSON ({error}); mend it, or write one record on each line"
        ) from error
    for number, record in enumerate(records):
        if isinstance(record, dict):
            yield number, record
        else:
            problems.bad(path, "record", "no JSON object", None, f"number {number}")


def read_json_lines(blocks: Iterable[bytes], path: str, problems: Problems, field: str) -> Iterator[Text]:
    """Yield the string in `field` of every record; a record may also be a bare string."""
    for offset, record in _parsed(blocks, path, problems):
        value = record.get(field) if isinstance(record, dict) else record
        if not isinstance(value, str):
            problems.bad(path, "record", f"no text in the field {field!r}", offset)
            continue
        value = clean(value, path, "record", offset, problems)
        if value:
            yield Text(value)


def read_word_list(blocks: Iterable[bytes], path: str, problems: Problems) -> Iterator[Text]:
    """Yield the words of `word<TAB>count` lines, weighted; the first line may be a header."""
    is_first = True
    for offset, text in _decoded(blocks, path, "line", problems):
        word, _, count = text.partition("\t")
        if word and COUNT.fullmatch(count) and int(count):
            # Not at the start of a document: a word of a list may stand anywhere in a text.
            yield Text(word, weight=int(count), starts=False)
        elif not (is_first and word and count and not _is_number(count)):
            problems.bad(path, "line", "no word, tab and positive count", offset)
        is_first = False


def _parsed(blocks: Iterable[bytes], path: str, problems: Problems) -> Iterator[tuple[int, Any]]:
    for offset, text in _decoded(blocks, path, "record", problems):
        try:
            record = json.loads(text)
        # Deep nesting exhausts the parser's stack.
        except (ValueError, RecursionError) as error:
            problems.bad(path, "record", "invalid JSON", offset, getattr(error, "msg", type(error).__name__))
            continue
        yield offset, record


def _decoded(blocks: Iterable[bytes], path: str, unit: str, problems: Problems) -> Iterator[tuple[int, str]]:
    for offset, line in read_lines(blocks, MAX_RECORD_BYTES):
        if line is None:
            problems.bad(path, unit, f"more than {MAX_RECORD_BYTES >> 20} MiB", offset)
            continue
        text = decode(line, path, unit, offset, problems)
        if text and not text.isspace():
            yield offset, text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
