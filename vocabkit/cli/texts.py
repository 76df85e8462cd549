"""Read the lines of a text file in any corpus format."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from vocabkit import console
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.corpus import Corpus


def read_lines(spec: str, registry: Registry, limit: int | None = None, field: str = "text") -> list[str]:
    """Return the non-empty lines of what `spec` names, at most `limit` of them."""
    from vocabkit.corpus import open_corpus

    corpus = open_corpus([spec], registry=registry, field=field)
    lines = list(islice(_lines(corpus), limit))
    for problem in corpus.problems.summaries():
        console.note(f"note: {problem}")
    return lines


def _lines(corpus: Corpus) -> Iterator[str]:
    for text in corpus:
        for line in text.text.split("\n"):
            if line.strip():
                yield line
