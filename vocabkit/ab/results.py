"""What an experiment found: figures of every arm, their differences with intervals, and tables of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vocabkit.ab.arms import Scores
from vocabkit.ab.compute import Sizes
from vocabkit.ab.design import COMPUTE, EXTENDED, OWN, RANDOM, Arm, Design
from vocabkit.ab.documents import Texts
from vocabkit.ab.readouts import Readout
from vocabkit.ab.speed import Speeds
from vocabkit.measure.paired import NOT_RESOLVED, Interval, difference_over_seeds

METHOD = (
    "t intervals of 95 %: the variance between seeds, with one degree of freedom less than seeds, plus that of a "
    "paired bootstrap over held-out lines (Welch and Satterthwaite)"
)
VOCABULARIES = {"base": "own vocabulary", "extended": "extended"}
PAIRS = ((EXTENDED, OWN), (COMPUTE, OWN), (RANDOM, OWN), (RANDOM, EXTENDED))


@dataclass(frozen=True)
class Comparison:
    """One arm against another by one readout.  difference: its unit is the readout's, or a share for speed."""

    arm: str
    against: str
    readout: str
    difference: Interval
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "arm": self.arm, "against": self.against, "readout": self.readout,
            "difference": self.difference.value, "low": self.difference.low, "high": self.difference.high,
            "verdict": self.verdict,
        }  # fmt: skip


def compared(
    name: str, against: str, readout: Readout, mine: Sequence[Scores], theirs: Sequence[Scores], texts: Texts
) -> Comparison:
    """Return the difference of two arms, seed by seed and line by line.  mine, theirs: the scores of every seed."""
    first, second = ([one[readout.name] or [] for one in scores] for scores in (theirs, mine))
    found = difference_over_seeds(first, second, readout.weights(texts))
    if readout.is_count and np.array_equal(first, second):
        found = Interval(found.value, None, None)
    verdict = _verdict(found, less_is_better=True)
    if readout.is_count:
        # Neither is good in itself: the text that people wrote says how many belong there.
        verdict = {"better": "fewer", "worse": "more"}.get(verdict, verdict)
    return Comparison(name, against, readout.name, found, verdict)


def results(
    design: Design,
    texts: Texts,
    sizes: Sizes,
    scores: dict[Arm, list[Scores]],
    before: dict[str, Scores],
    done: dict[Arm, dict[str, float]],
    speed: Speeds | str,
    parameters: int,
) -> dict[str, Any]:
    """Return everything that was found, as plain data.

    scores: arm -> of every seed.  before: "base" and "extended", not trained.  done: arm -> what its runs did.
    speed: or why it could not be measured.
    """
    every = [*before.values(), *(one for some in scores.values() for one in some)]
    readouts = [one for one in design.readouts if all(found[one.name] is not None for found in every)]
    arms = []
    own_flops = done[OWN]["tokens"] * sizes.flops_per_token["base"]
    for arm in design.arms:
        vocabulary = "base" if arm.model == "base" else "extended"
        rate = None if isinstance(speed, str) else speed.each[vocabulary]
        arms.append(
            {
                "name": arm.name,
                "title": arm.title,
                **{one.name: _mean(scores[arm], one, texts) for one in readouts},
                "per_seed": {one.name: [_mean([s], one, texts) for s in scores[arm]] for one in readouts},
                "characters_per_second": rate.characters_per_second if rate else None,
                "trained": {
                    **done[arm],
                    "compute": done[arm]["tokens"] * sizes.flops_per_token[vocabulary] / own_flops,
                },
            }
        )
    comparisons = [
        compared(arm.name, against.name, readout, scores[arm], scores[against], texts)
        for readout in readouts
        for arm, against in PAIRS
        if arm in scores
    ]
    if not isinstance(speed, str):
        verdict = _verdict(speed.gain, less_is_better=False)
        comparisons.append(Comparison(EXTENDED.name, OWN.name, "characters_per_second", speed.gain, verdict))
    scale = {
        "parameters": parameters,
        "target_bytes": sizes.bytes,
        "passes": design.settings.epochs,
        "replayed": design.mix,
        "seeds": design.seeds,
        "held_out_lines": {name: len(lines) for name, lines in texts.held.items()},
    }
    return {
        "base": str(design.base),
        "extended": str(design.extended),
        "scale": scale,
        "sizes": sizes.to_json(),
        "before": {
            name: {one.name: _mean([found], one, texts) for one in readouts} for name, found in before.items()
        },
        "readouts": {one.name: one.title for one in readouts},
        "not_measured": [one.title for one in design.readouts if one not in readouts],
        "references": {
            one.name: sum(one.reference(one.lines(texts))) / sum(one.weights(texts))
            for one in readouts
            if one.reference is not None
        },
        "arms": arms,
        "comparisons": [one.to_json() for one in comparisons],
        "speed": None if isinstance(speed, str) else speed.to_json(),
        "speed_not_measured": speed if isinstance(speed, str) else None,
        "method": METHOD,
        "caveat": caveat(scale),
    }


def caveat(scale: dict[str, Any]) -> str:
    """Return what figures of this scale cannot say."""
    read = scale["target_bytes"] * scale["passes"]
    size = f"{read / 1e6:,.1f} MB" if read >= 1e6 else f"{read / 1e3:,.1f} kB"
    return (
        f"This is a model of {scale['parameters']:,} parameters after {size} of new text, from {scale['seeds']} "
        f"seeds. Even the sign of a difference need not be the same for a larger model or more text; and intervals "
        f"are for other seeds and lines like these, not for other languages, settings or models."
    )


def tables(found: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, columns and rows of the arms, and of their differences."""
    titles = {arm["name"]: arm["title"] for arm in found["arms"]}
    readouts = found["readouts"]
    columns = ["arm", *readouts.values(), "characters/s", "text, kB", "tokens", "steps", "compute"]
    rows = [
        [f"{VOCABULARIES[model]}, not trained", *(f"{one[name]:.4f}" for name in readouts), *[""] * 5]
        for model, one in found["before"].items()
    ]
    rows += [
        [
            arm["title"],
            *(f"{arm[name]:.4f}" for name in readouts),
            f"{arm['characters_per_second']:,.1f}" if arm["characters_per_second"] else "-",
            f"{arm['trained']['bytes'] / 1e3:,.1f}",
            f"{arm['trained']['tokens']:,.0f}",
            f"{arm['trained']['steps']:,.0f}",
            f"{arm['trained']['compute']:.2f}",
        ]
        for arm in found["arms"]
    ]
    if found["references"]:
        shares = (f"{found['references'][name]:.4f}" if name in found["references"] else "" for name in readouts)
        rows.insert(0, ["held-out lines themselves", *shares, *[""] * 5])
    differences = [
        [
            titles[one["arm"]],
            titles[one["against"]],
            readouts.get(one["readout"], "characters/s"),
            *_figures(one),
            one["verdict"],
        ]
        for one in found["comparisons"]
    ]
    scale = found["scale"]
    return [
        (f"Means of {scale['seeds']} seeds", columns, rows),
        ("Differences", ["arm", "against", "", "difference", "95 %", "verdict"], differences),
    ]


def markdown(found: dict[str, Any]) -> str:
    """Return the tables as Markdown, with what they were made by and what they cannot say."""
    parts = [f"# {found['extended']} against {found['base']}\n"]
    for title, columns, rows in tables(found):
        lines = [columns, ["---"] * len(columns), *rows]
        parts.append(f"## {title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))
    parts.append(f"Differences: {found['method']}.\n")
    if found["speed_not_measured"]:
        parts.append(f"Speed was not measured: {found['speed_not_measured']}.\n")
    parts.append(f"{found['caveat']}\n")
    return "\n".join(parts)


def _figures(one: dict[str, Any]) -> list[str]:
    is_share = one["readout"] == "characters_per_second"

    def shown(value: float) -> str:
        return f"{value:+.1%}" if is_share else f"{value:+.4f}"

    interval = "-" if one["low"] is None else f"{shown(one['low'])} to {shown(one['high'])}"
    return [shown(one["difference"]), interval]


def _mean(scores: Sequence[Scores], readout: Readout, texts: Texts) -> float:
    return float(np.mean([sum(one[readout.name] or []) for one in scores])) / sum(readout.weights(texts))


def _verdict(difference: Interval, *, less_is_better: bool) -> str:
    side = difference.against()
    if side == NOT_RESOLVED:
        return side
    return "better" if (side == "below") == less_is_better else "worse"
