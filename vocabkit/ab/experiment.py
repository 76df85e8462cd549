"""Every arm from every seed, one after another, and what they say together."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.ab.arms import Scores, model_of, run_of, score, scores_of, train_arm, trained_on
from vocabkit.ab.compute import parameters_of, sizes_of
from vocabkit.ab.design import Arm, Design, begin, check_pair
from vocabkit.ab.documents import Texts, check_held_out
from vocabkit.ab.results import markdown, results
from vocabkit.ab.speed import Speeds, speeds
from vocabkit.errors import VocabkitError
from vocabkit.files import lock, write_whole
from vocabkit.train.metrics import Step
from vocabkit.train.start import Machine

RESULTS, TABLES = "results.json", "results.md"


@dataclass(frozen=True)
class Watcher:
    """Who is told what happens.  say: a step begins.  report: a step of training is done, of so many."""

    say: Callable[[str], None]
    report: Callable[[Step, int], None]


def run_experiment(
    design: Design,
    texts: Texts,
    names: Mapping[str, str],
    watcher: Watcher,
    *,
    force: bool = False,
    workers: int | None = None,
    device: str | None = None,
) -> dict[str, Any] | None:
    """Do what of an experiment is not done yet; return what was found, None when a signal stopped it.

    names: of the held-out texts, as the user gave them.
    Everything lies in the experiment's folder: "text", "arms" with a run for each seed, "scores", and the results.
    Raises VocabkitError for everything a user can mend, before anything is trained.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise VocabkitError("ab works in one process; run it without torchrun")
    check_held_out(texts, names)
    tokenizers = check_pair(design.base, design.extended)
    models = {"base": design.base, "extended": design.extended}
    sizes = sizes_of(
        texts, tokenizers, models, design.settings,
        mix=design.mix, max_bytes=design.max_bytes, max_steps=design.max_steps,
    )  # fmt: skip
    begin(design, texts.hashes(), force=force)
    held = lock(design.folder / ".lock")
    if held is None:
        raise VocabkitError(f"another process works in {design.folder}; wait for it, or choose another --output")
    with held:
        context = design.settings.block_size
        before: dict[str, Scores] = {}
        for name, folder in models.items():
            watcher.say(f"Scoring the {name} model")
            before[name] = score(
                design.readouts,
                folder,
                None,
                texts,
                design.folder / "scores" / "before" / f"{name}.json",
                context,
                device,
            )
        scores: dict[Arm, list[Scores]] = {arm: [] for arm in design.arms}
        machine = Machine(design.folder / "cache", workers, device)
        for seed in range(design.seeds):
            for arm in design.arms:
                label = f"seed {seed + 1} of {design.seeds}, {arm.title}"
                path = scores_of(design, arm, seed)
                if not path.is_file():
                    watcher.say(label)
                    if not train_arm(
                        design, arm, seed, texts, sizes, machine, say=_labelled(watcher, label), report=watcher.report
                    ):
                        return None
                    watcher.say(f"Scoring {label}")
                model, run = model_of(design, arm, seed), run_of(design, arm, seed)
                scores[arm].append(score(design.readouts, model, run, texts, path, context, device))
        watcher.say("Timing")
        speed = _speeds(models, texts, design.folder / "speed.json", device)
        done = {arm: trained_on(design, arm) for arm in design.arms}
        found = results(design, texts, sizes, scores, before, done, speed, parameters_of(design.base))
        write_whole(design.folder / RESULTS, json.dumps(found, ensure_ascii=False, indent=2) + "\n")
        write_whole(design.folder / TABLES, markdown(found))
        return found


def _labelled(watcher: Watcher, label: str) -> Callable[[str], None]:
    return lambda text: watcher.say(f"{label}: {text}")


def _speeds(models: Mapping[str, Path], texts: Texts, path: Path, device: str | None) -> Speeds | str:
    """Return the speeds, measured once, or why a model cannot be timed: that is no reason to lose the rest."""
    if path.is_file():
        return Speeds.from_json(json.loads(path.read_text(encoding="utf-8")))
    try:
        found = speeds(models, texts.held["target"], device)
    except VocabkitError as error:
        return str(error)
    write_whole(path, json.dumps(found.to_json()) + "\n")
    return found
