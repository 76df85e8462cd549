"""Start or go on with a run: its folder, its text, its model, and then the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocabkit.tokenizer import open_tokenizer
from vocabkit.train.evaluate import held_out
from vocabkit.train.loop import Habits, Outcome, train
from vocabkit.train.metrics import Step
from vocabkit.train.mixture import Mixture
from vocabkit.train.processes import Processes, joined
from vocabkit.train.recipe import Recipe, key_of
from vocabkit.train.run import Run, begin, held
from vocabkit.train.token_cache import open_cache, problems_of
from vocabkit.train.trainee import first_row, open_trainee
from vocabkit.train.trouble import enough_memory

if TYPE_CHECKING:
    from vocabkit.tokenizer.base import Tokenizer
    from vocabkit.train.token_cache import TokenCache


@dataclass(frozen=True)
class Machine:
    """Where and how a run works, which does not decide what it learns."""

    cache: Path
    workers: int | None = None
    device: str | None = None
    strategy: str = "ddp"


def start(
    run: Run,
    machine: Machine,
    habits: Habits,
    texts: Mapping[str, Sequence[str]],
    *,
    resume: bool,
    force: bool,
    say: Callable[[str], None],
    report: Callable[[Step, int], None],
) -> Outcome:
    """Train as `run` says, and return how it ended.

    texts: "target" and "base", lines to evaluate on.  say: takes notes, from the first process alone.
    Raises VocabkitError for everything a user can mend.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(joined(machine.device, machine.strategy))
        if processes.is_first:
            # Before minutes of tokenising: a model without new rows, a folder that is in use.
            first_row(run.model, run.settings.rows)
            begin(run, resume=resume, force=force)
            stack.callback(held(run.folder).close)
        processes.barrier()
        say = say if processes.is_first else (lambda text: None)
        tokenizer = open_tokenizer(run.model)
        caches = _caches(run, machine, tokenizer, processes)
        for cache in caches.values():
            stack.callback(cache.close)
        # The others must not read what a run before left as its failure.
        processes.barrier()
        stack.enter_context(enough_memory(run.settings))
        say("Loading the model")
        trainee = open_trainee(run.model, run.settings, device=processes.device, tokens=tokenizer.size)
        lines = [held_out(name, found, tokenizer) for name, found in texts.items()]
        mixture = Mixture(caches, run.shares, run.settings.seed, shuffle=run.settings.shuffle)
        say("Training")
        outcome = train(run, trainee, mixture, lines, habits, processes, report)
        for problem in problems_of([cache.facts() for cache in caches.values() if cache.is_done]):
            say(f"note: {problem}")
        if not all(cache.is_done for cache in caches.values()):
            say("note: training ended before all text was read, so what of it cannot be read is not known yet")
        return outcome


def _caches(run: Run, machine: Machine, tokenizer: Tokenizer, processes: Processes) -> dict[str, TokenCache]:
    settings = run.settings
    template = settings.template if settings.stage == "instruct" else None
    how: dict[str, Any] = {"bos": settings.bos, "eos": settings.eos, "template": template, **run.reading}
    recipes = {
        name: Recipe(str(run.model), tuple(specs), settings.block_size, **how) for name, specs in run.data.items()
    }
    # Naming a cache takes reading all text once.
    keys = processes.told(lambda: {name: key_of(recipe, tokenizer) for name, recipe in recipes.items()})
    return {
        name: open_cache(recipe, machine.cache, key=keys[name], workers=machine.workers, writes=processes.local == 0)
        for name, recipe in recipes.items()
    }
