"""What was wrong with a corpus: counted by file and kind, with the first places, never silent."""

from __future__ import annotations

from dataclasses import dataclass, field

from vocabkit.errors import BadTextError, VocabkitError

MAX_KEPT = 20
POLICIES = ("skip", "replace", "error")


@dataclass(frozen=True)
class Problem:
    """One place: the file as it was named, what is wrong, the byte offset in the decompressed file, what was done."""

    path: str
    kind: str
    offset: int
    done: str


@dataclass
class Problems:
    """Applies the policy `on_bad_text` and remembers what it was applied to."""

    policy: str = "skip"
    first: list[Problem] = field(default_factory=list)
    totals: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _first_offset: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise VocabkitError(f"unknown policy {self.policy!r} for bad text; choose {', '.join(POLICIES)}")

    def add(self, path: str, kind: str, offset: int, done: str | None = None) -> None:
        """Count a problem; under the policy "error" raise BadTextError instead."""
        if self.policy == "error":
            raise BadTextError(
                f"{path}: {kind} at byte {offset:,}; mend the file, or choose --on-bad-text skip or replace"
            )
        self.note(path, kind, offset, done or ("replaced" if self.policy == "replace" else "skipped"))

    def note(self, path: str, kind: str, offset: int, done: str) -> None:
        """Count something that was dealt with and loses nothing."""
        if len(self.first) < MAX_KEPT:
            self.first.append(Problem(path, kind, offset, done))
        key = (path, kind, done)
        self.totals[key] = self.totals.get(key, 0) + 1
        self._first_offset.setdefault(key, offset)

    def summaries(self) -> list[str]:
        """Return one line per file and kind: "a.txt: 3 x invalid UTF-8 skipped (first at byte 1,204)"."""
        return [
            f"{path}: {number:,} x {kind} {done} (first at byte {self._first_offset[path, kind, done]:,})"
            for (path, kind, done), number in self.totals.items()
        ]
