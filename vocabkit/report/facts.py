"""What a report shows, as plain data: gathered by the command line, drawn by page and card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocabkit.report.sizes import Size, knee_of

if TYPE_CHECKING:
    from vocabkit.measure.before_after import Length
    from vocabkit.measure.side_by_side import SideBySide
    from vocabkit.measure.size_curve import Point
    from vocabkit.report.runs import RunCurves
    from vocabkit.vocabulary.new_tokens import NewTokenFacts


@dataclass(frozen=True)
class Curve:
    """Beginnings of the vocabulary, in the order in which it was learned.

    points: what the texts take at each size; () without a curve, and then `note` says why.
    costs: the same sizes with what they cost, by the lines in the language.  shape: what says the model's shape.
    """

    points: tuple[Point, ...] = ()
    costs: tuple[Size, ...] = ()
    shape: str = ""
    note: str = ""

    @property
    def knee(self) -> Size | None:
        """The size to take, 0 when each costs more than it saves; None without a curve."""
        return self.costs[knee_of(self.costs)] if self.costs else None

    @property
    def knee_is_last(self) -> bool:
        """Whether more tokens than were learned might pay."""
        return self.knee is not None and self.knee is self.costs[-1]


@dataclass(frozen=True)
class Facts:
    """An extended tokenizer or model, and everything that was measured of it.

    name, base_name: of the two folders or files.  language, code: its name and tag, "" when nobody knows it.
    rows: embedding rows that the tokens need, padded.  has_weights: whether the folder holds a model.
    manifest: the folder's own, {} without one.
    certificate: as JSON, {"ok": ..., "checks": [...]}.  is_stored: it was read, not made for this report.
    texts, scripts: tokens per character, before and after.
    worst, best: lines that gained least and most.  english: those of `num_english` lines that changed.
    tokens: the new ones, by id.  pieces: ids of the base -> bytes, of those that new tokens replace.
    nearest: new id -> old tokens and the cosine of their rows, nearest first, for some tokens.
    curve: tokens on `texts` for beginnings of the vocabulary.
    """

    name: str
    base_name: str
    language: str
    code: str
    family: str
    base_size: int
    size: int
    rows: int
    has_weights: bool
    manifest: Mapping[str, Any]
    certificate: Mapping[str, Any]
    is_stored: bool
    texts: tuple[Length, ...]
    scripts: tuple[Length, ...]
    worst: tuple[SideBySide, ...]
    best: tuple[SideBySide, ...]
    english: tuple[SideBySide, ...]
    num_english: int
    tokens: tuple[NewTokenFacts, ...]
    pieces: Mapping[int, bytes]
    nearest: Mapping[int, tuple[tuple[bytes, float], ...]] = field(default_factory=dict)
    curve: Curve = Curve()
    runs: tuple[RunCurves, ...] = ()

    @property
    def dead(self) -> list[NewTokenFacts]:
        """The new tokens that can never be produced."""
        return [token for token in self.tokens if token.is_dead]

    @property
    def failed(self) -> list[str]:
        """The names of the guarantees that do not hold."""
        return [check["name"] for check in self.certificate["checks"] if not check["ok"]]

    @property
    def may_drift(self) -> bool:
        """Whether English lines may change: the language shares its script, and few enough of them do."""
        return bool(self.manifest.get("arguments", {}).get("max_drift")) and "G5" not in self.failed

    @property
    def used(self) -> int:
        """How many new tokens stand in the texts."""
        return sum(token.uses > 0 for token in self.tokens)

    @property
    def characters(self) -> int:
        """Of all texts."""
        return sum(text.characters for text in self.texts)

    def per_character(self) -> tuple[float, float] | None:
        """Return tokens per character of all texts, before and after; None without text."""
        if not self.characters:
            return None
        before, after = (sum(getattr(text, side) for text in self.texts) for side in ("before", "after"))
        return before / self.characters, after / self.characters

    def made_by(self) -> list[tuple[str, str]]:
        """Return what the manifest says of how the folder was made; paths of the machine only by their last part."""
        manifest = self.manifest
        given = {name: value for name, value in manifest.get("arguments", {}).items() if value not in (None, [], "")}
        rows = [
            (name, ", ".join(map(_short, value if isinstance(value, list) else [value])))
            for name, value in given.items()
        ]
        rows += [(f"sha256 of {one['name']}", one["sha256"]) for one in manifest.get("inputs", [])]
        rows += [(f"version of {name}", str(number)) for name, number in manifest.get("versions", {}).items()]
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, without the tokens one by one."""
        return {
            "name": self.name,
            "base": self.base_name,
            "family": self.family,
            "language": self.code,
            "base_size": self.base_size,
            "size": self.size,
            "padded_size": self.rows,
            "new_tokens": len(self.tokens),
            "dead_tokens": len(self.dead),
            "used_tokens": self.used,
            "changed_english_lines": len(self.english),
            "english_lines": self.num_english,
            "certificate": {"ok": bool(self.certificate["ok"]), "failed": self.failed, "stored": self.is_stored},
            "texts": [text.to_json() for text in self.texts],
            "scripts": [script.to_json() for script in self.scripts],
            "curve": [point.to_json() for point in self.curve.points],
            "knee": self.curve.knee and {"model_shape": self.curve.shape, **self.curve.knee.to_json()},
            "runs": [run.name for run in self.runs],
        }


def _short(value: object) -> str:
    """Return an argument as text, an absolute path by its last part: where files lie is nobody's business."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else str(value)
