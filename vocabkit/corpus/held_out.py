"""Keep some lines of a corpus apart while it is read: what is measured on them was not learned from."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from vocabkit.corpus.text import Text

ONE_IN = 10
# Lines that are kept, of each kind; later ones replace none.
MOST_LINES = 4000
# A word of a list that stands for so many occurrences is no line of text.
WORD = 2


class HeldOut:
    """Passes texts on without one line of `one_in`, chosen by its bytes, so that equal lines stay together.

    one_in: 0 to pass every line on, for those who measure on another text.

    held_out: those lines, as many as are of use.  sample: lines that were passed on, and words of lists with their
    weights; all words, but only as many lines.  is_list: whether nothing but words of lists was read.
    """

    def __init__(self, one_in: int = ONE_IN) -> None:
        self._one_in = one_in
        self.held_out: list[str] = []
        self.sample: list[tuple[str, int]] = []
        self._lines = 0

    @property
    def is_list(self) -> bool:
        return bool(self.sample) and not self._lines

    def __call__(self, texts: Iterable[Text]) -> Iterator[Text]:
        """Yield what may be learned from."""
        for text in texts:
            if text.weight >= WORD:
                self.sample.append((text.text, text.weight))
                yield text
                continue
            kept = []
            for line in text.text.split("\n"):
                self._lines += bool(line.strip())
                if not self._one_in or zlib.crc32(line.encode("utf-8", "surrogatepass")) % self._one_in:
                    kept.append(line)
                elif line.strip() and len(self.held_out) < MOST_LINES:
                    self.held_out.append(line)
            room = MOST_LINES - len(self.sample)
            self.sample += [(line, 1) for line in kept if line.strip()][: max(room, 0)]
            yield replace(text, text="\n".join(kept))
