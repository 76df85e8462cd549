"""The training loop, readable from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from vocabkit_kernels import RowAdamW

from vocabkit.errors import VocabkitError
from vocabkit.model.trained import Saved, checkpoints
from vocabkit.train.checkpoints import restore, save
from vocabkit.train.evaluate import HeldOut, bits_per_byte
from vocabkit.train.metrics import Step, append, logged, truncate_metrics
from vocabkit.train.mixture import Drawn, Mixture, batches
from vocabkit.train.processes import Processes, whole
from vocabkit.train.run import Run
from vocabkit.train.settings import Settings, learning_rate_factor
from vocabkit.train.trainee import Trainee
from vocabkit.train.trouble import asked_to_stop, peak_bytes

# Of a step, which never decide what is learned: sequences are this long or a multiple of it.
LENGTH_MULTIPLE = 8


@dataclass(frozen=True)
class Habits:
    """What does not change the numbers of a run.

    save_every, evaluate_every: steps between; None: ten times in a run.  keep: newest checkpoints that stay.
    max_base_regression: share by which bits per byte of the base text may rise; None: no guard.
    stop_after: save and end after so many steps of this sitting.  log_to: a logger besides metrics.jsonl.
    """

    save_every: int | None = None
    evaluate_every: int | None = None
    keep: int = 2
    max_base_regression: float | None = None
    stop_after: int | None = None
    log_to: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: "done", "stopped" by a signal, "paused" by `stop_after`, or "guarded": the base got worse."""

    ended: str
    step: int
    steps: int
    evaluated: dict[str, dict[str, float]]
    message: str = ""


def train(
    run: Run,
    trainee: Trainee,
    mixture: Mixture,
    held_out: Sequence[HeldOut],
    habits: Habits,
    processes: Processes,
    report: Callable[[Step, int], None],
) -> Outcome:
    """Train from the newest checkpoint of the run, or from the beginning, to the end.

    report: called with every step and the number of all steps, by the first process.
    Raises VocabkitError when the loss is no number (nothing of that step is kept) or when memory runs out.
    """
    settings = run.settings
    module = processes.wrap(trainee)
    parameters = trainee.trained()
    optimizers = _optimizers(parameters, settings)
    sequences = _sequences(settings, mixture)
    steps = ceil(sequences / settings.batch_size)
    identity = {"steps": steps, "texts": mixture.names(), "evaluated": {text.name: text.hash for text in held_out}}
    begin, first = _resume(run, parameters, optimizers, mixture, identity)
    if processes.is_first:
        truncate_metrics(run.folder, begin or -1)
    save_every = habits.save_every or max(1, steps // 10)
    evaluate_every = habits.evaluate_every or max(1, steps // 10)

    def evaluated() -> dict[str, float]:
        return {text.name: bits_per_byte(module, trainee, text, processes, settings.block_size) for text in held_out}

    def keep(step: int) -> None:
        state = {**identity, "mixture": mixture.state(), "first": first}
        save(run.folder, step, parameters, _by_name(parameters, optimizers), state, processes, habits.keep)

    if not first:
        first = evaluated()
        if processes.is_first and first:
            append(run.folder, {"step": 0, "evaluated": first})
    latest, ended, message = first, "done", ""
    with asked_to_stop() as stop, logged(run.folder, settings, habits.log_to, writes=processes.is_first) as log:
        for step in range(begin, steps):
            started = time.perf_counter()
            # A step's random numbers are a function of the seed and its number: nothing of them need be saved.
            torch.manual_seed(hash_of(settings.seed, step, processes.rank))
            # The last step takes what is left of the passes, and begins no further one.
            drawn = mixture.draw(min(settings.batch_size, sequences - step * settings.batch_size))
            factor = learning_rate_factor(settings, step, steps)
            for optimizer, rate in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor
            sums = _accumulate(module, trainee, drawn, settings, processes)
            norm = _clipped(list(parameters.values()), settings.clip)
            loss, labels, bytes_, new = processes.summed(sums)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise VocabkitError(_not_finite(run, step, loss, norm, drawn))
            for optimizer, _ in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            seconds = time.perf_counter() - started
            done = step + 1
            is_last = done == steps
            is_evaluated = bool(held_out) and (done % evaluate_every == 0 or is_last)
            if is_evaluated:
                latest = evaluated()
            found = Step(
                done, loss / max(labels, 1), loss / math.log(2) / max(bytes_, 1), norm,
                max(rate for _, rate in optimizers) * factor, int(labels), int(bytes_), new / max(labels, 1),
                _counts(drawn), seconds, peak_bytes(processes.device),
                latest if is_evaluated else {},
            )  # fmt: skip
            log(found)
            if processes.is_first:
                report(found, steps)
            regression = _regression(first, found.evaluated)
            if habits.max_base_regression is not None and regression > habits.max_base_regression:
                ended, message = "guarded", _guarded(first, found.evaluated, habits.max_base_regression)
            elif not is_last and processes.any(bool(stop)):
                ended = "stopped"
            elif not is_last and done - begin == habits.stop_after:
                ended = "paused"
            if ended != "done" or is_last or done % save_every == 0:
                keep(done)
            if ended != "done":
                return Outcome(ended, done, steps, {"first": first, "last": latest}, message)
    return Outcome("done", steps, steps, {"first": first, "last": latest})


def _sequences(settings: Settings, mixture: Mixture) -> int:
    """Return how many sequences a run draws."""
    if settings.steps is not None:
        return settings.steps * settings.batch_size
    # 0.1 * 30 is a hair above 3.
    return max(1, ceil(settings.epochs * mixture.sequences_in_a_pass() - 1e-6))


def _accumulate(
    module: nn.Module, trainee: Trainee, drawn: Sequence[Drawn], settings: Settings, processes: Processes
) -> list[float]:
    """Add up the gradients of a step; return the sums of loss, labels, bytes and new ids that this process saw."""
    passes = batches(drawn, settings.micro_batch, processes.rank, processes.world)
    # The mean over every label of the step, whichever process and pass it is in; gradients of processes are averaged.
    labels_in_all = sum(int(one.learned[1:].sum()) for one in drawn)
    share = processes.world / max(labels_in_all, 1)
    sums = [0.0, 0.0, 0.0, 0.0]
    for number, part in enumerate(passes):
        ids, labels = padded(part, processes.device)
        with processes.accumulating(module, number == len(passes) - 1):
            minimised, loss = module(ids, labels)
            (minimised * share).backward()
        sums[0] += float(loss.double())
        sums[1] += int((labels != -100).sum())
        sums[2] += sum(one.bytes for one in part)
        sums[3] += 0 if trainee.new_from is None else int((labels >= trainee.new_from).sum())
    return sums


def padded(drawn: Sequence[Drawn], device: str) -> tuple[Tensor, Tensor]:
    """Return ids and labels, [B, T]; labels[:, t] is what comes after ids[:, t], -100 where nothing is learned.

    Shorter sequences end in id 0, which nothing before them sees.
    """
    length = max((len(one.ids) - 1 for one in drawn), default=1)
    length = -(-length // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    ids = np.zeros((max(len(drawn), 1), length), np.int64)
    labels = np.full_like(ids, -100)
    for row, one in enumerate(drawn):
        size = len(one.ids) - 1
        ids[row, :size] = one.ids[:-1]
        labels[row, :size] = np.where(one.learned[1:], one.ids[1:], -100)
    return torch.from_numpy(ids).to(device), torch.from_numpy(labels).to(device)


def hash_of(*numbers: int) -> int:
    """Return a seed that differs for every combination of numbers."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _optimizers(parameters: Mapping[str, nn.Parameter], settings: Settings) -> list[tuple[Any, float]]:
    """Return optimizers with their rates: rows keep a float32 copy of 16-bit values, adapters are float32."""
    how: dict[str, Any] = {
        "betas": (settings.beta1, settings.beta2), "eps": settings.epsilon, "weight_decay": settings.weight_decay,
    }  # fmt: skip
    rows = [parameter for name, parameter in parameters.items() if name.startswith("rows.")]
    others = [parameter for name, parameter in parameters.items() if not name.startswith("rows.")]
    found: list[tuple[Any, float]] = []
    if rows:
        found.append((RowAdamW(rows, lr=settings.rows_learning_rate, **how), settings.rows_learning_rate))
    if others:
        found.append((torch.optim.AdamW(others, lr=settings.learning_rate, **how), settings.learning_rate))
    return found


def _by_name(parameters: Mapping[str, Tensor], optimizers: Sequence[tuple[Any, float]]) -> dict[str, Any]:
    rows, others = optimizers[0][0], optimizers[-1][0]
    return {name: rows if name.startswith("rows.") else others for name in parameters}


def _resume(
    run: Run,
    parameters: Mapping[str, Tensor],
    optimizers: Sequence[tuple[Any, float]],
    mixture: Mixture,
    identity: Mapping[str, Any],
) -> tuple[int, dict[str, float]]:
    """Go on from the newest checkpoint; return the steps taken, and what was measured before the first.

    identity: what must be as it was: the number of steps, the texts, and what is evaluated.
    """
    saved: list[Saved] = checkpoints(run.folder)
    if not saved:
        return 0, {}
    found = saved[-1].state()
    for name, value in identity.items():
        if found.get(name) != value:
            raise VocabkitError(
                f"{run.folder} was started with other {'text' if name == 'texts' else name}: "
                f"{_difference(found.get(name), value)}; use what it was started with, or another --output"
            )
    state = restore(saved[-1], parameters, _by_name(parameters, optimizers))
    mixture.restore(state["mixture"])
    return int(state["step"]), dict(state["first"])


def _difference(before: Any, now: Any) -> str:
    """Return which part of two values differs."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"{before}, not {now}"
    names = sorted({**before, **now})
    return ", ".join(name for name in names if before.get(name) != now.get(name)) + " changed"


def _clipped(parameters: Sequence[Tensor], clip: float) -> float:
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip or math.inf)
    return float(whole(norm))


def _regression(first: Mapping[str, float], latest: Mapping[str, float]) -> float:
    """Return by what share the base text got worse, 0 when that is not known."""
    if "base" not in first or "base" not in latest:
        return 0.0
    return latest["base"] / first["base"] - 1


def _guarded(first: Mapping[str, float], latest: Mapping[str, float], limit: float) -> str:
    return (
        f"the base text takes {latest['base']:.4f} bits per byte, {_regression(first, latest):.1%} more than the "
        f"{first['base']:.4f} before training (at most {limit:.1%} more allowed); mix in base text with "
        f"--data en=FILE --mix en=0.1, or lower the learning rate"
    )


def _not_finite(run: Run, step: int, loss: float, norm: float, drawn: Sequence[Drawn]) -> str:
    saved = checkpoints(run.folder)
    kept = f"the checkpoint of step {saved[-1].step} is kept" if saved else "nothing was saved yet"
    return (
        f"step {step + 1}: the loss is {loss} and the gradient's norm {norm}, on text of "
        f"{', '.join(sorted(_counts(drawn)))}; {kept}; lower the learning rate or use --dtype float32 or bfloat16"
    )


def _counts(drawn: Sequence[Drawn]) -> dict[str, int]:
    """Return how many sequences each source gave."""
    names = [one.source for one in drawn]
    return {name: names.count(name) for name in sorted(set(names))}
