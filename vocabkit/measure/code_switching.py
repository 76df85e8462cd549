"""How often texts hold another language than the one they should be in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vocabkit.measure.answers import Answer
from vocabkit.measure.excused import blanked, is_excused, quotations
from vocabkit.measure.switches import Expected, Word, find_words, runs, split
from vocabkit.measure.wilson import wilson


@dataclass(frozen=True)
class Switched:
    """What one text holds.  letters, other_letters: with combining marks.  others: letters of each other language."""

    letters: int
    other_letters: int
    others: dict[str, int]

    @property
    def is_mostly_other(self) -> bool:
        """Whether more than half of the letters are of another language."""
        return 2 * self.other_letters > self.letters


@dataclass(frozen=True)
class Rate:
    """Switches over the texts of a file.

    samples: texts that hold another language; share: of all texts; low, high: its 95 % interval (Wilson).
    letter_share: letters in another language, of all letters.
    others: how many texts hold each other language or script, the most frequent first.
    elsewhere: texts of which more than half is another language.
    """

    samples: int
    share: float
    low: float
    high: float
    letter_share: float
    others: dict[str, int]
    elsewhere: int


@dataclass(frozen=True)
class CodeSwitching:
    """One file: how many texts it has, and its switches.

    raw: everything counts.  filtered: without what `vocabkit.measure.excused` leaves out.
    not_told_apart: languages of the same script that went unnoticed.
    """

    file: str
    language: str
    samples: int
    raw: Rate
    filtered: Rate
    not_told_apart: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def code_switching(name: str, answers: Sequence[Answer], expected: Expected) -> CodeSwitching:
    """Return how often the texts of one file leave the expected language.

    The share of samples with tokens of more than one language is the metric of arXiv 2401.01055, which names
    no detector; here it is `find_words`.
    """
    raw = [switched(answer, expected) for answer in answers]
    filtered = [switched(answer, expected, filtered=True) for answer in answers]
    return CodeSwitching(
        name, expected.code, len(answers), _rate(raw), _rate(filtered), not_told_apart=expected.not_told_apart
    )


def switched(answer: Answer, expected: Expected, *, filtered: bool = False) -> Switched:
    """Return what a text holds beside the expected language."""
    text = blanked(answer.text) if filtered else answer.text
    words = find_words(text, expected)
    counted = [word for word in words if word.other]
    if filtered:
        counted = _counted(text, words, answer.prompt)
    others: Counter[str] = Counter()
    for word in counted:
        others[word.other] += word.letters
    return Switched(sum(word.letters for word in words), sum(others.values()), dict(others))


def _counted(text: str, words: Sequence[Word], prompt: str) -> list[Word]:
    """Return the words of another language that nothing excuses."""
    is_all = all(word.other for word in words)
    quoted, prompt_words = quotations(text), _words_of(prompt)
    return [
        word for run in runs(text, words) if not is_excused(run, text, quoted, prompt_words, is_all) for word in run
    ]


def _words_of(prompt: str) -> frozenset[str]:
    return frozenset(prompt[word.start : word.end].casefold() for word in split(prompt))


def _rate(found: Sequence[Switched]) -> Rate:
    samples = sum(one.other_letters > 0 for one in found)
    letters, other = sum(one.letters for one in found), sum(one.other_letters for one in found)
    low, high = wilson(samples, len(found))
    others = Counter(label for one in found for label in one.others)
    return Rate(
        samples=samples,
        share=round(samples / len(found), 4),
        low=round(low, 4),
        high=round(high, 4),
        letter_share=round(other / letters, 4) if letters else 0.0,
        others=dict(others.most_common()),
        elsewhere=sum(one.is_mostly_other for one in found),
    )
