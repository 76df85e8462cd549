"""`vocabkit tibetan`: what a corpus in Tibetan script is made of."""

from __future__ import annotations

from collections import Counter

import click

from vocabkit.plugins import Registry
from vocabkit_tibetan.languages import SYLLABLE, normalize


@click.group()
def tibetan() -> None:
    """Look at texts in Tibetan script."""


@tibetan.command()
@click.argument("text")
@click.option("--top", type=click.IntRange(0), default=20, show_default=True, help="Syllables to list.")
@click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document on stdout.")
@click.pass_obj
def syllables(registry: Registry, text: str, top: int, as_json: bool) -> None:
    """Count the syllables of TEXT, which is whatever --corpus takes.

    How many tokens are worth learning: if the most frequent 2,000 syllables cover nearly all of a corpus, further
    tokens are words and phrases.

    \b
    Example:
      vocabkit tibetan syllables pecha:kangyur/ --top 50
    """
    from vocabkit import console
    from vocabkit.cli.texts import read_lines

    counts = count_syllables(read_lines(text, registry))
    total = counts.total()
    rows = [{"syllable": syllable, "count": count} for syllable, count in counts.most_common(top)]
    if as_json:
        console.result_json({"syllables": total, "distinct": len(counts), "most_frequent": rows})
        return
    covered = sum(count for _, count in counts.most_common(top))
    console.result(f"{total:,} syllables, {len(counts):,} distinct")
    console.result(f"The most frequent {len(rows):,} are {covered / max(total, 1):.1%} of all:")
    for row in rows:
        console.result(f"{row['count']:>10,}  {row['syllable']}")


def count_syllables(lines: list[str]) -> Counter[str]:
    """Count syllables without their tsheg, so that one before a shad is the same: "ཁ་" and "ཁ།" are both ཁ."""
    found = (match.rstrip("\u0f0b") for line in lines for match in SYLLABLE.findall(normalize(line)))
    return Counter(found)
