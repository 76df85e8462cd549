"""What a diagnosis says: findings with their evidence, and the changes that mend them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Lists in a JSON document are cut here; the figures count everything.
MAX_ITEMS = 200


@dataclass(frozen=True)
class Edit:
    """A change to one JSON file of the folder: the value at `keys`, made where it is missing."""

    file: str
    keys: tuple[str, ...]
    value: Any


@dataclass(frozen=True)
class Finding:
    """One failure.

    name: which of the known ones.  problem: the evidence, with figures.  follows: what it means for the user.
    mend: what to do about it.  items: examples.
    edits: what `--fix` changes; () when that would not be safe.  unsafe: why not.
    """

    name: str
    problem: str
    follows: str
    mend: str
    items: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    unsafe: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain data; `fixable` says whether `--fix` mends it."""
        row: dict[str, Any] = {
            "name": self.name,
            "problem": self.problem,
            "follows": self.follows,
            "mend": self.mend,
            "fixable": bool(self.edits),
        }
        if not self.edits:
            row["unsafe"] = self.unsafe
        if self.items:
            row["items"] = list(self.items[:MAX_ITEMS])
        return row


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found.

    findings: in the order of the checks.  checked: the names of the checks that could be made.
    unchecked: what could not be looked at here, and why.
    """

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as plain data."""
        return {
            "healthy": self.healthy,
            "findings": [finding.to_json() for finding in self.findings],
            "checked": list(self.checked),
            "not_checked": list(self.unchecked),
        }
