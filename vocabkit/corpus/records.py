"""JSON Lines, tables of words and counts, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from vocabkit.corpus.plain import decode
from vocabkit.corpus.problems import Problems
from vocabkit.corpus.text import Text
from vocabkit.errors import VocabkitError

MAX_RECORD_BYTES = 64 << 20


def read_jsonl(blocks: Iterable[bytes], path: str, problems: Problems, field: str) -> Iterator[Text]:
    """Yield the `field` of each record; a record may also be a bare string."""
    for offset, line in _records(blocks, path, problems):
        text = decode(line, path, offset, problems)
        if text is None or not text.strip():
            continue
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            problems.add(path, "invalid JSON", offset, "skipped")
            continue
        value = record.get(field) if isinstance(record, dict) else record
        if not isinstance(value, str):
            problems.add(path, f"record without a text {field!r}", offset, "skipped")
            continue
        clean = _without_surrogates(value, path, offset, problems)
        if clean:
            yield Text(clean)


def read_table(blocks: Iterable[bytes], path: str, problems: Problems) -> Iterator[Text]:
    """Yield the words of lines of a word, a tab and a count; the first line may be a header."""
    for number, (offset, line) in enumerate(_records(blocks, path, problems)):
        text = decode(line, path, offset, problems)
        if text is None or not text.strip():
            continue
        word, _, count = text.strip("\r\n").rpartition("\t")
        if not word or not count.strip().isdecimal():
            if number:
                problems.add(path, "line without a word, a tab and a count", offset, "skipped")
            continue
        if int(count):
            yield Text(word, weight=int(count), starts=False)


def read_parquet(path: Path, name: str, problems: Problems, field: str) -> Iterator[Text]:
    """Yield the column `field`, a batch of rows at a time."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise VocabkitError(f"{name} is Parquet; to read it run `pip install 'vocabkit[data]'`") from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError):
        problems.add(name, "damaged Parquet file", 0, "skipped")
        return
    with file:
        if field not in file.schema_arrow.names:
            columns = ", ".join(file.schema_arrow.names)
            raise VocabkitError(f"{name} has no column {field!r}; choose with --field one of: {columns}")
        rows = 0
        try:
            for batch in file.iter_batches(batch_size=1024, columns=[field]):
                for value in batch.column(0).to_pylist():
                    rows += 1
                    if isinstance(value, str) and value:
                        yield Text(value)
                    else:
                        problems.add(name, f"row without a text {field!r}", rows, "skipped")
        except (pyarrow.ArrowInvalid, OSError):
            problems.add(name, "damaged Parquet file", rows, "read up to that row")


def _records(blocks: Iterable[bytes], path: str, problems: Problems) -> Iterator[tuple[int, bytes]]:
    """Yield (byte offset, line); a line beyond `MAX_RECORD_BYTES` is dropped while it streams past."""
    rest: list[bytes] = []
    held = 0
    offset = 0
    too_long = False
    for block in blocks:
        start = 0
        while (end := block.find(b"\n", start)) >= 0:
            line = b"".join([*rest, block[start : end + 1]])
            if not too_long:
                yield offset, line
            offset += held + end + 1 - start if too_long else len(line)
            rest, held, too_long = [], 0, False
            start = end + 1
        tail = block[start:]
        held += len(tail)
        if held > MAX_RECORD_BYTES and not too_long:
            problems.add(path, f"record of more than {MAX_RECORD_BYTES >> 20} MiB", offset, "skipped")
            rest, too_long = [], True
        if not too_long and tail:
            rest.append(tail)
    if rest:
        yield offset, b"".join(rest)


def _without_surrogates(text: str, path: str, offset: int, problems: Problems) -> str | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        problems.add(path, "lone surrogate", offset)
        if problems.policy == "skip":
            return None
        text = text.encode("utf-8", errors="surrogatepass").decode("utf-8", errors="replace")
    if "\0" in text:
        problems.add(path, "NUL character", offset)
        return None if problems.policy == "skip" else text.replace("\0", "\ufffd")
    return text
