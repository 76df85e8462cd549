"""What a probe of a model finds, and how sure a change from one model to another is.

A probe is a function of a `Subject` and a language's code that returns a `Finding`; plugins register their own with
`register_probes`.  It asks every model the same, so that models can be compared item by item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vocabkit.errors import UnknownNameError, VocabkitError
from vocabkit.measure.paired import Interval, difference_over_items


@dataclass(frozen=True)
class Item:
    """One thing that was asked.  value: a share, from 0 to 1.  shown: what the model wrote, if it wrote."""

    name: str
    value: float
    shown: str = ""


@dataclass(frozen=True)
class Finding:
    """What a probe found.  meaning: of the values, in a few words.  aim: the value that an item should have."""

    meaning: str
    aim: float
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Probed:
    """A model's finding.

    mean: of all items, with its 95 % interval over items.  distance: mean distance of an item from `aim`; figures on
    both sides of it may have a mean right there.
    against: `mean` less that of the first model, by a paired bootstrap; None for the first.
    """

    model: str
    probe: str
    meaning: str
    aim: float
    mean: Interval
    distance: float
    items: tuple[Item, ...]
    against: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return asdict(self)


def probed(model: str, probe: str, found: Finding) -> Probed:
    """Return the figures of a finding; raises VocabkitError for a probe that asked nothing, or gives no shares."""
    values = [item.value for item in found.items]
    if not values:
        raise VocabkitError(f"probe {probe!r} asked nothing; a Finding needs items")
    wrong = next((item for item in found.items if not 0 <= item.value <= 1), None)
    if wrong is not None:
        raise VocabkitError(f"probe {probe!r} gives {wrong.value} for {wrong.name!r}; values are shares from 0 to 1")
    mean = difference_over_items([0.0] * len(values), values)
    distance = sum(abs(value - found.aim) for value in values) / len(values)
    return Probed(model, probe, found.meaning, found.aim, mean, distance, found.items)


def compared(one: Probed, first: Probed) -> Probed:
    """Return the figures with how they differ from the first model's."""
    before, after = ([item.value for item in side.items] for side in (first, one))
    if len(before) != len(after):
        raise VocabkitError(f"probe {one.probe!r} asks {first.model} and {one.model} different things; mend it")
    return replace(one, against=difference_over_items(before, after))


def in_language(probe: str, items: Mapping[str, Sequence[Any]], language: str) -> Sequence[Any]:
    """Return a probe's items in a language; raises UnknownNameError, which names the others, when it has none."""
    if language not in items:
        raise UnknownNameError(f"language of probe {probe!r}", language, items)
    return items[language]
