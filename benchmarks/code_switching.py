"""How well switches are found: precision and recall on marked answers, and on real text with and without insertions.

    python benchmarks/code_switching.py [--texts udhr/]

--texts: a folder with CODE.txt, one paragraph a line.  As they are, paragraphs hold no switch, so what is found there
is wrong; with some words of another language inside, what is not found is missed.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import save
from labelled_switches import Labelled, labelled

from vocabkit.errors import VocabkitError
from vocabkit.measure import identify
from vocabkit.measure.answers import Answer
from vocabkit.measure.code_switching import Switched, switched, wilson
from vocabkit.measure.switches import Expected, expect
from vocabkit.plugins import load_plugins

# Beside a language, those that only identification tells from it.
PAIRS = (
    ("id", "en"), ("sw", "en"), ("vi", "en"), ("yo", "en"), ("ha", "en"), ("hi", "mr"), ("hi", "ne"), ("mr", "hi"),
    ("ne", "hi"), ("ar", "ur"), ("ur", "ar"), ("ug", "ar"), ("kk", "mn"), ("mn", "kk"),
)  # fmt: skip
# Told apart at which price, and which not: false alarms on paragraphs of the first.
CLOSE = (
    ("hi", "mr"), ("hi", "ne"), ("hi", "sa"), ("mr", "hi"), ("mr", "gom"), ("mr", "sa"), ("ne", "hi"), ("ne", "sa"),
    ("id", "ms"), ("ja", "zh"), ("ur", "ar"), ("kk", "ru"),
)  # fmt: skip
PRICES = (8.0, 12.0, 16.0, 24.0)
WORDS = (1, 2, 3, 5, 8, 12)
SHORTEST = 40  # characters of a paragraph


@dataclass
class Score:
    """Counts of what was found and what was there."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    clean: int = 0

    def add(self, is_found: bool, is_there: bool) -> None:
        """Count one sample."""
        self.right += is_found and is_there
        self.wrong += is_found and not is_there
        self.missed += is_there and not is_found
        self.clean += not is_there and not is_found

    def to_json(self) -> dict[str, Any]:
        """Return the counts with precision and recall, which are None of nothing."""
        found, there = self.right + self.wrong, self.right + self.missed
        return {
            **vars(self),
            "precision": round(self.right / found, 4) if found else None,
            "recall": round(self.right / there, 4) if there else None,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"labelled": on_labelled(labelled())}
    if options.texts:
        result["clean"] = on_clean(options.texts)
        result["false_alarms_by_price"] = [on_close(options.texts, code, other) for code, other in CLOSE]
        result["inserted"] = [on_inserted(options.texts, code, other) for code, other in PAIRS]
    save("code-switching", result)


def on_labelled(samples: Sequence[Labelled]) -> dict[str, Any]:
    """Return precision and recall of samples by language and by kind, and the letters that are marked and found."""
    languages = load_plugins().languages
    expected = {code: expect(code, languages) for code in {sample.lang for sample in samples}}
    scores = {"filtered": Score(), "raw": Score()}
    by: dict[str, Score] = {}
    letters = {"filtered": [0, 0], "raw": [0, 0]}
    for sample in samples:
        for name, marks in (("filtered", sample.switched), ("raw", sample.foreign)):
            found = find(sample, expected[sample.lang], filtered=name == "filtered")
            scores[name].add(found.other_letters > 0, any(marks))
            letters[name][0] += found.other_letters
            letters[name][1] += sum(mark and c.isalpha() for mark, c in zip(marks, sample.text, strict=True))
            if name == "filtered":
                for key in (f"language {sample.lang}", f"kind {sample.kind}"):
                    by.setdefault(key, Score()).add(found.other_letters > 0, any(marks))
    low, high = wilson(scores["filtered"].right, scores["filtered"].right + scores["filtered"].missed)
    return {
        "samples": len(samples),
        **{name: score.to_json() for name, score in scores.items()},
        "recall_interval": [round(low, 4), round(high, 4)],
        "letters": {name: {"found": found, "marked": marked} for name, (found, marked) in letters.items()},
        **{name: score.to_json() for name, score in sorted(by.items())},
    }


def find(sample: Labelled, expected: Expected, *, filtered: bool) -> Switched:
    """Return what is found in a marked answer."""
    return switched(Answer(sample.text, sample.prompt), expected, filtered=filtered)


def on_clean(texts: Path) -> list[dict[str, Any]]:
    """Return for every language with a text how many of its paragraphs are said to hold another language."""
    languages, rows = load_plugins().languages, []
    for path in sorted(texts.glob("*.txt")):
        code = path.stem
        try:
            expected = expect(code, languages)
        except VocabkitError:
            continue
        lines = paragraphs(path)
        row: dict[str, Any] = {"code": code, "paragraphs": len(lines)}
        row["candidates"] = expected.identifier.codes if expected.identifier else ()
        for name in ("raw", "filtered"):
            found = [switched(Answer(line), expected, filtered=name == "filtered") for line in lines]
            row[name] = sum(one.other_letters > 0 for one in found)
            row[f"{name}_others"] = sorted({other for one in found for other in one.others})
        rows.append(row)
        print(row, flush=True)
    return rows


def on_close(texts: Path, code: str, other: str) -> dict[str, Any]:
    """Return the share of paragraphs that are said to hold `other`, for several prices of a change."""
    lines = paragraphs(texts / f"{code}.txt")
    row: dict[str, Any] = {"code": code, "other": other, "false_alarms": {}}
    kept = identify.SWITCH_NEIGHBOUR
    scripts = expect(code, load_plugins().languages, scripts_only=True).scripts
    for price in PRICES:
        identify.SWITCH_NEIGHBOUR = price
        expected = Expected(code, frozenset({code}), scripts, identify.Identifier([code, other]))
        row["false_alarms"][price] = share(other in switched(Answer(line), expected).others for line in lines)
    identify.SWITCH_NEIGHBOUR = kept
    print(row, flush=True)
    return row


def on_inserted(texts: Path, code: str, other: str) -> dict[str, Any]:
    """Return the share of paragraphs in which words of `other`, put between two of their words, are found."""
    expected = expect(code, load_plugins().languages)
    lines, draw = paragraphs(texts / f"{code}.txt"), random.Random(0)
    strange = [word for line in paragraphs(texts / f"{other}.txt") for word in line.split()]
    row: dict[str, Any] = {"code": code, "other": other, "paragraphs": len(lines), "recall": {}}
    for size in WORDS:
        mixed = [insert(line.split(), strange, size, draw) for line in lines]
        row["recall"][size] = share(any(switched(Answer(text), expected).others) for text in mixed)
    print(row, flush=True)
    return row


def insert(words: list[str], strange: list[str], size: int, draw: random.Random) -> str:
    """Return a text with `size` words of another in a row, somewhere inside."""
    place, start = draw.randrange(1, max(2, len(words))), draw.randrange(len(strange) - size)
    return " ".join([*words[:place], *strange[start : start + size], *words[place:]])


def share(found: Iterable[bool]) -> float:
    """Return the share of what is true."""
    counted = list(found)
    return round(sum(counted) / len(counted), 3)


def paragraphs(path: Path) -> list[str]:
    """Return the lines of a file that are long enough."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) >= SHORTEST]


if __name__ == "__main__":
    main()
