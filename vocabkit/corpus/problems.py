"""Count what could not be read, never silently; under `error` the first such text raises."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from vocabkit.errors import BadTextError, VocabkitError

POLICIES = ("skip", "replace", "error")
MAX_EXAMPLES = 20

INVALID_UTF8 = "invalid UTF-8"
NUL = "a NUL character"
# What U+FFFD can stand for; anything else is skipped under `replace` too.
REPLACEABLE = frozenset({INVALID_UTF8, NUL})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that went wrong, or that the user should know.

    path: the file as it was named.  offset: bytes into the decompressed UTF-8 text, None when there is none.
    """

    path: str
    kind: str
    offset: int | None
    detail: str


class Problems:
    """What was found so far: the first examples, and totals per file and kind."""

    def __init__(self, on_bad_text: str = "skip") -> None:
        if on_bad_text not in POLICIES:
            raise VocabkitError(f"unknown policy {on_bad_text!r} for bad text; choose one of {', '.join(POLICIES)}")
        self.replaces = on_bad_text == "replace"
        self._raises = on_bad_text == "error"
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.examples: list[Problem] = []
        self.totals: Counter[tuple[str, str]] = Counter()
        # Per file and kind: the unit that is counted, if any, and the first example.
        self._first: dict[tuple[str, str], tuple[str | None, Problem]] = {}

    def bad(self, path: str, unit: str, kind: str, offset: int | None, detail: str = "") -> None:
        """Count a `unit` ("line", "record") with `kind`; raises BadTextError under the policy `error`."""
        if self._raises:
            place = "" if offset is None else f" at byte {offset:,}"
            because = f" ({detail})" if detail else ""
            ways = "skip or replace" if kind in REPLACEABLE else "skip"
            raise BadTextError(f"{path}: {unit} with {kind}{place}{because}; mend it, or use --on-bad-text {ways}")
        self._add(Problem(path, kind, offset, detail), unit)

    def damage(self, path: str, detail: str, offset: int) -> None:
        """Count a file that cannot be read beyond `offset`; raises BadTextError under the policy `error`."""
        found = f"{detail} after {offset:,} bytes of text"
        if self._raises:
            raise BadTextError(f"{path}: {found}; get the file again, or use --on-bad-text skip to read up to there")
        self._add(Problem(path, detail, offset, f"{found}; only what comes before is used"))

    def note(self, path: str, detail: str) -> None:
        """Keep something that is no fault but that the user should know."""
        self._add(Problem(path, detail, None, detail))

    def summaries(self) -> list[str]:
        """Return a line per file and kind: "a.txt: 3 lines with invalid UTF-8 skipped (first at byte 1,204)"."""
        return [self._summary(count, *self._first[key]) for key, count in self.totals.items()]

    def _summary(self, count: int, unit: str | None, first: Problem) -> str:
        if unit is None:
            return f"{first.path}: {first.detail}"
        units = unit if count == 1 else f"{unit}s"
        action = "replaced by U+FFFD" if self.replaces and first.kind in REPLACEABLE else "skipped"
        place = "" if first.offset is None else f" (first at byte {first.offset:,})"
        return f"{first.path}: {count:,} {units} with {first.kind} {action}{place}"

    def _add(self, problem: Problem, unit: str | None = None) -> None:
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(problem)
        key = (problem.path, problem.kind)
        self.totals[key] += 1
        self._first.setdefault(key, (unit, problem))
