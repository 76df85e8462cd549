"""Read data sets of the Hugging Face hub, or of a local folder, as a stream: `hf:name`, `hf:name:config:split`."""

from __future__ import annotations

from collections.abc import Iterator

from vocabkit.corpus.text import Text
from vocabkit.errors import VocabkitError


def read_hf(name: str, field: str = "text") -> Iterator[Text]:
    """Yield the strings in `field` of a data set's split, `train` unless the name says another.

    name: "name", "name:config" or "name:config:split"; "name::split" takes the default configuration.
    Raises VocabkitError when the data set cannot be opened or has no text in `field`.
    """
    try:
        import datasets
    except ImportError as error:
        raise VocabkitError(f"hf:{name} needs datasets; pip install 'vocabkit[hub]'") from error

    path, config, split = (*name.split(":"), "", "")[:3]
    if not path or name.count(":") > 2:
        raise VocabkitError(f"hf:{name} is no data set; write hf:NAME, hf:NAME:CONFIG or hf:NAME:CONFIG:SPLIT")
    try:
        rows = datasets.load_dataset(path, config or None, split=split or "train", streaming=True)
    # The hub's own errors (not found, gated, offline) derive from OSError, wrong configurations are ValueErrors.
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise VocabkitError(f"hf:{name} cannot be opened: {reason}; check its name, or `hf auth login`") from error
    for row in rows:
        if field not in row:
            raise VocabkitError(f"hf:{name} has no field {field!r}; choose one of {', '.join(row)} with --field")
        # A row without a value is counted by the corpus as a text with nothing in it.
        yield Text(row[field] or "")
