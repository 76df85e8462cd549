"""A sample of a corpus, for what reads text but need not read all of it."""

from __future__ import annotations

import random
from collections.abc import Iterator

from vocabkit.corpus import Corpus


def sample_lines(corpus: Corpus, size: int, seed: int = 0) -> Iterator[str]:
    """Yield lines drawn evenly from the whole of `corpus`, in its order, about `size` bytes in all.

    A corpus whose size cannot be known (a pipe) is read from its beginning until there is enough.
    """
    rate = 1.0 if not corpus.total_bytes else min(1.0, size / corpus.total_bytes)
    generator = random.Random(seed)
    left = size
    for text in corpus:
        for line in text.text.split("\n"):
            if not line.strip() or (rate < 1 and generator.random() >= rate):
                continue
            yield line
            left -= len(line.encode())
            # Compressed text is longer than its file says.
            if left <= 0:
                return
