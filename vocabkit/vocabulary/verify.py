"""Prove that a tokenizer extends another one and changes nothing else: the certificate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.language import Language
from vocabkit.rows.checkpoint import Checkpoint
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_alphabet import readable
from vocabkit.tokenizer.widen import EXTEND, KEEP, with_wide_words

# Lists in a certificate are cut here; a failing check still counts everything.
MAX_ITEMS = 2000


@dataclass(frozen=True)
class Check:
    """One guarantee: its name (G1...), what it says, whether it holds, the evidence, and what breaks it."""

    name: str
    title: str
    ok: bool
    detail: str
    items: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the check as plain data."""
        row: dict[str, Any] = {"name": self.name, "title": self.title, "ok": self.ok, "detail": self.detail}
        if self.items:
            row["items"] = list(self.items[:MAX_ITEMS])
        return row


@dataclass(frozen=True)
class Certificate:
    """All checks of one candidate against its base."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every guarantee holds."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> list[str]:
        """The names of the guarantees that do not hold."""
        return [check.name for check in self.checks if not check.ok]

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as plain data: {"ok": ..., "checks": [...]}."""
        return {"ok": self.ok, "checks": [check.to_json() for check in self.checks]}


@dataclass
class Case:
    """What the checks look at.

    base, candidate: the two tokenizers.  folder: where the candidate was saved, None for a single file.
    scripts: the code point ranges whose text may change.  added_specials: special tokens that were asked for.
    max_drift: of the lines of English, code and `base_text`, how many may change; 0 unless they share the script.
    target, other: texts with and without the scripts, beyond the built-in ones.
    rebuild: makes the candidate again from the same inputs, when that is known.
    weights: the models of base and candidate, when both have one.
    widened: the base with the pre-tokenizer that the candidate should have, when that was extended.
    """

    base: Tokenizer
    candidate: Tokenizer
    folder: Path | None
    scripts: tuple[tuple[int, int], ...]
    added_specials: frozenset[str] = frozenset()
    max_drift: float = 0.0
    base_text: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    rebuild: Callable[[], Tokenizer] | None = None
    weights: tuple[Checkpoint, Checkpoint] | None = None
    widened: Tokenizer | None = None
    new_ids: range = field(init=False)

    def __post_init__(self) -> None:
        self.new_ids = range(self.base.size, self.candidate.size)

    def owns(self, text: str) -> bool:
        """Return whether `text` holds a character of the scripts."""
        return any(first <= ord(c) <= last for c in text for first, last in self.scripts)

    @property
    def widening(self) -> str:
        """What a check adds to its evidence where the pre-tokenizer was extended."""
        return "; the base's pre-tokenizer extended" if self.widened else ""

    def old_ids(self, lines: Sequence[str]) -> list[list[int]]:
        """Return what new segmentations are made of: the base's, the widened base's for text with the scripts."""
        ids = self.base.encode(lines)
        if self.widened:
            owned = [place for place, line in enumerate(lines) if self.owns(line)]
            for place, wide in zip(owned, self.widened.encode([lines[i] for i in owned]), strict=True):
                ids[place] = wide
        return ids

    def new_texts(self) -> list[str]:
        """Return the new tokens that are text, as they look inside a text."""
        mark = self.candidate.preparer().mark
        tokens = (self.candidate.token_bytes(token_id) for token_id in self.new_ids)
        texts = (readable(token).replace(mark, " ") for token in tokens if token is not None)
        return [text for text in texts if "<0x" not in text]


def verify(
    candidate: Tokenizer,
    base: Tokenizer,
    *,
    folder: Path | None = None,
    language: Language | None = None,
    added_specials: Sequence[str] = (),
    texts: Sequence[str] = (),
    base_text: Sequence[str] = (),
    max_drift: float | None = None,
    rebuild: Callable[[], Tokenizer] | None = None,
    weights: tuple[Checkpoint, Checkpoint] | None = None,
    only: Collection[str] = (),
    pretokenizer: str = KEEP,
    progress: Callable[[str], None] | None = None,
) -> Certificate:
    """Return the certificate of `candidate` as an extension of `base`.

    language: whose scripts may change; guessed from the new tokens when it is not given.
    texts: further lines to compare on, of any language.
    base_text: lines in the languages that the base knows, for a language that shares their script.
    max_drift: how many of them may change, 0 to 1; the language's own when it is not given.
    rebuild: makes the candidate again from the same inputs, to compare the bytes.
    weights: the models of base and candidate; without them the checks of weights are left out.
    only: names of the checks to run, all of them by default.
    pretokenizer: "extend" when the candidate's should be that of the base, widened for `language` and nothing else.
    Raises VocabkitError when the two are of different families.
    """
    from vocabkit.vocabulary.checks import CHECKS
    from vocabkit.vocabulary.weight_checks import WEIGHT_CHECKS

    if candidate.family != base.family:
        raise VocabkitError(
            f"{candidate.source} is {candidate.family} and {base.source} is {base.family}; compare an extended "
            f"tokenizer with the base it was made from"
        )
    if pretokenizer == EXTEND and not language:
        raise VocabkitError(f"{candidate.source} has an extended pre-tokenizer; name its language with --lang")
    scripts = language.scripts if language else guess_scripts(candidate, base)
    case = Case(base, candidate, folder, scripts, frozenset(added_specials), rebuild=rebuild, weights=weights)
    case.max_drift = max_drift if max_drift is not None else language.max_drift if language else 0.0
    case.base_text = tuple(base_text)
    if pretokenizer == EXTEND and language:
        case.widened = with_wide_words(base, language)
    case.target = tuple(line for line in texts if case.owns(line))
    case.other = tuple(line for line in texts if not case.owns(line))
    if language:
        case.target += tuple(line for line in language.evaluation_text.splitlines() if line)
    checks: list[Check] = []
    run: tuple[Callable[[Case], Check | None], ...] = (*CHECKS, *(WEIGHT_CHECKS if weights else ()))
    for check in run:
        name = check.__name__.split("_")[0].upper()
        if only and name not in only:
            continue
        if progress:
            progress(f"Proving {name}")
        result = check(case)
        if result is not None:
            checks.append(result)
    return Certificate(tuple(sorted(checks, key=lambda check: int(check.name.removeprefix("G")))))


def guess_scripts(candidate: Tokenizer, base: Tokenizer) -> tuple[tuple[int, int], ...]:
    """Return everything beyond Latin that the new tokens use, as ranges of 128 code points."""
    used = set()
    for token_id in range(base.size, candidate.size):
        token = candidate.token_bytes(token_id)
        if token is not None:
            used |= {ord(c) >> 7 for c in token.decode(errors="ignore") if ord(c) >= 0x250 and c != "\u2581"}
    # U+2000-207F is general punctuation: English has it too.
    return tuple((block << 7, (block << 7) + 127) for block in sorted(used - {0x2000 >> 7}))
