"""Read one column of a Parquet file, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vocabkit.corpus.clean import decode
from vocabkit.corpus.problems import Problems
from vocabkit.corpus.text import Text
from vocabkit.errors import VocabkitError

# Few enough that a batch of long documents stays small.
ROWS_PER_BATCH = 256
BUFFER_BYTES = 1 << 20


def read_parquet(path: Path, problems: Problems, field: str, advance: Callable[[int], None]) -> Iterator[Text]:
    """Yield the text of every row of the column `field`.

    Offsets of problems count the bytes of text before them.  advance: called with a share of the file's size.
    Raises VocabkitError when pyarrow is not installed or there is no such column of text.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise VocabkitError(f"{path} is Parquet, which needs pyarrow; pip install 'vocabkit[data]'") from error

    name, offset, num_advanced = str(path), 0, 0
    size = path.stat().st_size
    try:
        # ArrowException is no OSError; a file that is cut or overwritten raises either.
        with pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
            _check_column(file.schema_arrow, path, field)
            num_rows = 0
            for batch in file.iter_batches(ROWS_PER_BATCH, columns=[field], use_threads=False):
                # As bytes: pyarrow does not check that strings are UTF-8.
                for value in batch.column(0).cast(pyarrow.large_binary()).to_pylist():
                    text = _text(value, name, offset, problems, field)
                    offset += len(value or b"")
                    if text:
                        yield Text(text)
                num_rows += batch.num_rows
                share = size * num_rows // file.metadata.num_rows
                advance(share - num_advanced)
                num_advanced = share
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        problems.damage(name, f"damaged Parquet data ({reason})", offset)
    advance(size - num_advanced)


def read_parquet_records(
    path: Path, problems: Problems, advance: Callable[[int], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and every column of each row.

    Raises VocabkitError when pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise VocabkitError(f"{path} is Parquet, which needs pyarrow; pip install 'vocabkit[data]'") from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
            for batch in file.iter_batches(ROWS_PER_BATCH, use_threads=False):
                for record in batch.to_pylist():
                    yield number, record
                    number += 1
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        problems.damage(str(path), f"damaged Parquet data ({str(error).partition(chr(10))[0].rstrip('.')})", number)
    advance(path.stat().st_size)


def _check_column(schema: Any, path: Path, field: str) -> None:
    import pyarrow

    if field not in schema.names:
        raise VocabkitError(f"{path} has no column {field!r}; choose one of {', '.join(schema.names)} with --field")
    kind = schema.field(field).type
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_binary(kind)
    if not (is_text or pyarrow.types.is_large_binary(kind)):
        raise VocabkitError(f"{path}: column {field!r} holds {kind}, not text; choose another with --field")


def _text(value: bytes | None, path: str, offset: int, problems: Problems, field: str) -> str | None:
    if value is None:
        problems.bad(path, "record", f"no text in the field {field!r}", offset)
        return None
    return decode(value, path, "record", offset, problems)
