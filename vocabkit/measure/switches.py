"""Find the words of a text that are not in the language it should be in."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vocabkit.errors import VocabkitError
from vocabkit.language import Language
from vocabkit.measure.identify import (
    ENGLISH,
    NOT_TOLD_APART,
    Identifier,
    can_identify,
    known_languages,
    need_identification,
)
from vocabkit.measure.scripts import LATIN, script_of, scripts_of, scripts_of_code

# Stand inside words: apostrophes, and the joiners that Indic and Arabic scripts need.
INSIDE = frozenset("'’ʼ\u200c\u200d")
SENTENCE_ENDS = frozenset(".!?…\n;:。！？；：।॥؟۔።။៕།")


@dataclass(frozen=True)
class Word:
    """Letters of one script in a row: where they stand, how many they are, and "" or what they are instead.

    begins: whether a sentence begins here.  other: a language's code, or the name of a script.
    """

    start: int
    end: int
    letters: int
    script: str
    begins: bool
    other: str = ""


@dataclass(frozen=True)
class Expected:
    """What an answer may be written in.

    own: plain codes of the language and of those allowed beside it.  scripts: what they are written in.
    identifier: tells languages of these scripts apart; None where there is none to be told, or nothing to tell it.
    not_told_apart: codes of languages of the same script that go unnoticed.
    """

    code: str
    own: frozenset[str]
    scripts: frozenset[str]
    identifier: Identifier | None = field(default=None, compare=False)
    not_told_apart: tuple[str, ...] = ()


def expect(
    code: str, languages: Mapping[str, Language], *, allow: Collection[str] = (), scripts_only: bool = False
) -> Expected:
    """Return what answers in the language `code` may be written in.

    languages: those that plugins offer; any other that py3langid knows will do.  allow: codes allowed beside it.
    scripts_only: tell languages apart by their scripts alone.
    Raises VocabkitError for a code that neither knows, and when py3langid is needed and not installed.
    """
    scripts = frozenset[str]().union(*(_scripts(one, languages) for one in (code, *allow)))
    own = [_plain(one) for one in (code, *allow)]
    offered = languages.get(code, languages.get(own[0]))
    others = list(offered.neighbours if offered else ())
    if LATIN in scripts:
        others.append(ENGLISH)
    others = sorted({other for other in others if other not in own})
    if scripts_only or not others:
        return Expected(code, frozenset(own), scripts, not_told_apart=tuple(others))
    need_identification(
        f"telling {code} from {', '.join(others)}, which are written alike (`--scripts-only` does not)"
    )
    known = known_languages()
    told = [other for other in others if other in known and (own[0], other) not in NOT_TOLD_APART]
    if own[0] not in known:
        told = []
    rest = tuple(other for other in others if other not in told)
    beside = [one for one in dict.fromkeys(own[1:]) if one in known and one != own[0]]
    identifier = Identifier([own[0], *beside, *told]) if told else None
    return Expected(code, frozenset(own), scripts, identifier, rest)


def find_words(text: str, expected: Expected) -> list[Word]:
    """Return the words of `text`; `other` of a word says what it is when it is not in the expected language."""
    found = [
        word if not word.script or word.script in expected.scripts else _named(word, word.script)
        for word in split(text)
    ]
    if expected.identifier is not None:
        own = [number for number, word in enumerate(found) if not word.other]
        spelled = [text[found[number].start : found[number].end] for number in own]
        labels = expected.identifier.label(spelled, [found[number].begins for number in own])
        for number, label in zip(own, labels, strict=True):
            if label not in expected.own:
                found[number] = _named(found[number], label)
    return found


def split(text: str) -> Iterator[Word]:
    """Yield the words, cut where the script changes: "用Python写" has three."""
    start, end, letters, script, begins, is_begin = 0, 0, 0, "", True, True
    for at, character in enumerate(text):
        is_letter = unicodedata.category(character)[0] in "LM"
        here = script_of(character) if is_letter else ""
        if letters and is_letter and not (here and script and here != script):
            end, letters, script = at + 1, letters + 1, script or here
            continue
        if letters and character in INSIDE:
            continue
        if letters:
            yield Word(start, end, letters, script, is_begin)
            begins, letters = False, 0
        if is_letter:
            start, end, letters, script, is_begin, begins = at, at + 1, 1, here, begins, False
        elif character in SENTENCE_ENDS:
            begins = True
    if letters:
        yield Word(start, end, letters, script, is_begin)


def runs(text: str, words: Sequence[Word]) -> Iterator[list[Word]]:
    """Yield words of another language that stand side by side, with nothing between them that ends a phrase."""
    run: list[Word] = []
    for word in words:
        joined = run and word.other == run[-1].other and _joins(text[run[-1].end : word.start])
        if run and not joined:
            yield run
            run = []
        if word.other:
            run.append(word)
    if run:
        yield run


def _scripts(code: str, languages: Mapping[str, Language]) -> frozenset[str]:
    plain = _plain(code)
    for one in (code, plain):
        if one in languages:
            return scripts_of(languages[one])
    if plain in known_languages():
        return scripts_of_code(plain)
    what = (
        "nor by py3langid" if can_identify() else "and `pip install 'vocabkit[languages]'` brings those of py3langid"
    )
    raise VocabkitError(f"language {code!r} is not among those of `vocabkit languages`, {what}; mend the code")


def _plain(code: str) -> str:
    """Return a code without its script or country: "zh-Hant" -> "zh"."""
    return code.split("-")[0]


def _named(word: Word, other: str) -> Word:
    return Word(word.start, word.end, word.letters, word.script, word.begins, other)


def _joins(between: str) -> bool:
    return all((c.isspace() and c != "\n") or c.isdigit() or c in "-&+./'’" for c in between)
