"""Train one arm from one seed, and score what came out line by line; what is finished is not done again."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vocabkit.ab.compute import Sizes
from vocabkit.ab.design import Arm, Design
from vocabkit.ab.documents import REPLAY, TARGET, Texts, first_bytes, ordered, write_documents
from vocabkit.ab.random_rows import write_random
from vocabkit.ab.readouts import Readout
from vocabkit.errors import VocabkitError
from vocabkit.files import write_whole
from vocabkit.manifest import read_manifest
from vocabkit.model.load import load_model
from vocabkit.model.trained import read_trained
from vocabkit.tokenizer import open_tokenizer
from vocabkit.train.loop import Habits
from vocabkit.train.metrics import METRICS, Step
from vocabkit.train.run import Run
from vocabkit.train.start import Machine, start

# Replayed text beyond what a run takes, so that blocks that end unevenly do not begin it anew.
SPARE = 1.1


# Readout -> a figure for each line; None where the model could not be measured so.
Scores = dict[str, list[float] | None]


def model_of(design: Design, arm: Arm, seed: int) -> Path:
    """Return the model that an arm starts from."""
    folders = {"base": design.base, "extended": design.extended}
    return folders.get(arm.model, design.folder / "random" / str(seed))


def run_of(design: Design, arm: Arm, seed: int) -> Path:
    """Return the folder of a run."""
    return design.folder / "arms" / arm.name / str(seed)


def scores_of(design: Design, arm: Arm, seed: int) -> Path:
    """Return the file of a run's figures."""
    return design.folder / "scores" / arm.name / f"{seed}.json"


def write_texts(
    design: Design, arm: Arm, seed: int, texts: Texts, sizes: Sizes
) -> tuple[dict[str, list[str]], float]:
    """Write what one run reads, unless it is there; return name of a text -> files, and how many passes.

    Arms of a seed read the same documents in the same order; one with more bytes goes on with further ones, and
    begins anew where there are none.
    """
    folder = design.folder / "text" / str(seed)
    wanted = sizes.bytes * (sizes.multiple if arm.budget == "compute" else 1.0)
    files = {TARGET: [str((folder / f"{TARGET}-{arm.budget}.jsonl").resolve())]}
    # Rounded: the whole text times 1.0 must be the whole text.
    chosen = first_bytes(ordered(texts.trained[TARGET], seed), round(wanted))
    _write_once(Path(files[TARGET][0]), chosen)
    if REPLAY in texts.trained:
        path = folder / f"{REPLAY}.jsonl"
        most = sizes.bytes * max(1.0, sizes.multiple) * design.settings.epochs * design.mix / (1 - design.mix)
        _write_once(path, first_bytes(ordered(texts.trained[REPLAY], seed), SPARE * most))
        files[REPLAY] = [str(path.resolve())]
    is_all = len(chosen) == len(texts.trained[TARGET])
    passes = max(1.0, wanted / texts.bytes(TARGET)) if is_all else 1.0
    return files, design.settings.epochs * passes


def train_arm(
    design: Design,
    arm: Arm,
    seed: int,
    texts: Texts,
    sizes: Sizes,
    machine: Machine,
    *,
    say: Callable[[str], None],
    report: Callable[[Step, int], None],
) -> bool:
    """Train a run from where it stands; return False when a signal stopped it, which saved it first."""
    model, folder = model_of(design, arm, seed), run_of(design, arm, seed)
    if arm.model == "random" and not model.is_dir():
        say("Drawing new rows")
        write_random(design.base, design.extended, model, seed)
    files, epochs = write_texts(design, arm, seed, texts, sizes)
    resume = folder.is_dir() and read_manifest(folder) is not None
    if folder.is_dir() and not resume:
        # Killed before it had begun.
        shutil.rmtree(folder)
    shares = {REPLAY: design.mix} if REPLAY in files else {}
    reading = {"field": "text", "documents": "lines", "on_bad_text": "skip"}
    run = Run(folder, model, design.settings_of(arm, seed, epochs), files, shares, reading)
    outcome = start(run, machine, Habits(keep=1), {}, resume=resume, force=False, say=say, report=report)
    gc.collect()
    return outcome.ended == "done"


def score(
    readouts: Sequence[Readout],
    model: Path,
    run: Path | None,
    texts: Texts,
    path: Path,
    context: int,
    device: str | None = None,
) -> Scores:
    """Return every readout of a model, or of a run from it, and keep it in the file `path`, or read it there."""
    if path.is_file():
        kept = read_scores(path)
        if all(one.name in kept for one in readouts):
            return kept
    loaded = load_model(model, device=device, trained=read_trained(run) if run else None)
    tokenizer = open_tokenizer(model)
    found = {one.name: one.score(loaded, tokenizer, one.lines(texts), context) for one in readouts}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(found) + "\n")
    return found


def read_scores(path: Path) -> Scores:
    """Return what `score` wrote; raises VocabkitError when it is damaged."""
    try:
        found: Scores = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VocabkitError(f"{path} is damaged ({error}); remove it, and it is made again") from error
    return found


def trained_on(design: Design, arm: Arm) -> dict[str, float]:
    """Return what an arm's runs did, on average over seeds: steps, tokens, bytes, and seconds of training."""
    total = {"steps": 0.0, "tokens": 0.0, "bytes": 0.0, "seconds": 0.0}
    for seed in range(design.seeds):
        lines = (run_of(design, arm, seed) / METRICS).read_text(encoding="utf-8").splitlines()
        steps: list[Mapping[str, Any]] = [step for line in lines if "loss" in (step := json.loads(line))]
        total["steps"] += len(steps) / design.seeds
        for name in ("tokens", "bytes", "seconds"):
            total[name] += sum(step[name] for step in steps) / design.seeds
    return total


def _write_once(path: Path, documents: Sequence[str]) -> None:
    if not path.is_file():
        write_documents(path, documents)
