"""`hf:NAME`: a dataset through the package datasets, streamed."""

from __future__ import annotations

from collections.abc import Iterator

from vocabkit.corpus.text import Text
from vocabkit.errors import VocabkitError

FIELD = "text"


def read_hf(argument: str) -> Iterator[Text]:
    """Yield the field "text" of NAME, NAME:CONFIG or NAME:CONFIG:SPLIT (split "train" when none is named)."""
    try:
        from datasets import load_dataset
    except ImportError:
        raise VocabkitError("the package datasets is not installed; run `pip install 'vocabkit[hub]'`") from None
    name, config, split = (*argument.split(":", 2), "", "")[:3]
    try:
        rows = load_dataset(name, config or None, split=split or "train", streaming=True)
        first = next(iter(rows), None)
    # The library raises its own, the network's and the file system's errors alike.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise VocabkitError(
            f"cannot read the dataset {argument!r}: {reason}; check its name, config and split"
        ) from error
    if first is not None and not isinstance(first.get(FIELD), str):
        columns = ", ".join(first)
        raise VocabkitError(f"the dataset {argument!r} has no text field {FIELD!r}, but: {columns}; export it first")
    for row in rows:
        if row[FIELD]:
            yield Text(row[FIELD])
