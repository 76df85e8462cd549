"""`vocabkit train`: a checkpoint and text in, a run out that `vocabkit fuse` makes a model of."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.train.loop import Outcome
    from vocabkit.train.metrics import Step
    from vocabkit.train.run import Run

Command = TypeVar("Command", bound=Callable[..., Any])
TARGET = "target"


def numbers(command: Command) -> Command:
    """Add the options that decide the numbers of a run; what is not given comes from the stage or the preset."""
    positive = click.IntRange(1)
    found = (
        click.option("--epochs", type=float, help="Passes over the text, when no --steps are given.  [default: 1]"),
        click.option("--block-size", type=click.IntRange(2), help="Tokens of a sequence.  [default: 512]"),
        click.option("--batch-size", type=positive, help="Sequences of a step, on all devices.  [default: 32]"),
        click.option("--micro-batch", type=positive, help="Sequences of one pass on one device.  [default: 4]"),
        click.option("--learning-rate", type=float, help="Of adapters."),
        click.option("--rows-learning-rate", type=float, help="Of vocabulary rows."),
        click.option("--schedule", type=click.Choice(["cosine", "linear", "constant"]), help="[default: cosine]"),
        click.option("--warmup", type=float, help="Share of the steps in which the rate rises.  [default: 0.05]"),
        click.option("--weight-decay", type=float),
        click.option("--clip", type=float, help="Greatest norm of the gradient, 0 for none.  [default: 1]"),
        click.option("--rows", type=click.Choice(["new", "all", "none"]), help="Vocabulary rows that train."),
        click.option("--matrices", type=click.Choice(["both", "input", "head"]), help="Whose rows.  [default: both]"),
        click.option("--all-rows", is_flag=True, help="The same as --rows all: what the papers did."),
        click.option("--train-old-rows", is_flag=True, help="The same as --rows all."),
        click.option("--targets", help="Layers that get adapters: q_proj,v_proj,... or all-linear; '' for none."),
        click.option("--rank", type=positive, help="Of adapters."),
        click.option("--alpha", type=float, help="Adapters are scaled by alpha / rank."),
        click.option("--dropout", type=float, help="Of adapters."),
        click.option("--quantize", type=click.Choice(["none", "nf4"]), help="Frozen layers in 4 bits."),
        click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), help="Of weights."),
        click.option("--checkpointing/--no-checkpointing", default=None, help="Recompute layers to save memory."),
        click.option("--compile/--no-compile", default=None, help="torch.compile the model's body."),
        click.option("--bos/--no-bos", default=None, help="Begin documents with BOS."),
        click.option("--eos/--no-eos", default=None, help="End documents with EOS."),
    )  # fmt: skip
    for option in reversed(found):
        command = option(command)
    return command


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--data", multiple=True, metavar="[NAME=]TEXT",
    help="File, folder or glob to train on; may be repeated.  NAME is what --mix speaks of.",
)  # fmt: skip
@click.option("--mix", multiple=True, metavar="NAME=SHARE", help="Share of all bytes that is of --data NAME=...")
@click.option("--stage", type=click.Choice(["rows", "pretrain", "instruct"]), help="What trains.")
@click.option(
    "--preset", metavar="NAME", help="Numbers of a published release: chinese-llama-7b, chinese-mixtral, ..."
)
@click.option("--steps", type=click.IntRange(1), help="Optimizer steps.  [default: as --epochs says]")
@numbers
@click.option("--shuffle/--no-shuffle", default=None, help="Or keep the order of the text.  [default: shuffle]")
@click.option("--seed", type=click.IntRange(0))
@click.option("--template", help="alpaca, alpaca-2, mixtral, or chat: the tokenizer's own.")
@click.option("--field", default="text", show_default=True, help="Field of JSON Lines and Parquet records.")
@click.option(
    "--documents", type=click.Choice(["lines", "files"]), default="lines", show_default=True,
    help="What a document of plain text is.",
)  # fmt: skip
@click.option(
    "--on-bad-text", type=click.Choice(["skip", "replace", "error"]), default="skip", show_default=True,
    help="What to do with text that cannot be read; it is always counted and named.",
)  # fmt: skip
@click.option("--eval-target", metavar="TEXT", help="Lines of the new language to measure bits per byte on.")
@click.option("--eval-base", metavar="TEXT", help="Lines of the base's language, to see what is forgotten.")
@click.option("--eval-every", type=click.IntRange(1), metavar="STEPS", help="[default: ten times]")
@click.option("--eval-lines", type=click.IntRange(1), default=200, show_default=True, help="Lines of each, at most.")
@click.option(
    "--max-base-regression", type=float, metavar="SHARE", help="Stop when --eval-base is worse by more: 0.02."
)
@click.option("--save-every", type=click.IntRange(1), metavar="STEPS", help="[default: ten times]")
@click.option("--keep", type=click.IntRange(1), default=2, show_default=True, help="Newest checkpoints that stay.")
@click.option("--stop-after", type=click.IntRange(1), metavar="STEPS", help="Save and end after so many steps.")
@click.option("--resume", is_flag=True, help="Go on with the run in --output.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Where tokenised text lies.  [default: ~/.cache/vocabkit]"
)
@click.option("--workers", type=click.IntRange(1), help="Threads that tokenise.  [default: cores]")
@click.option("--device", help="cpu, cuda, ...  [default: a GPU when there is one]")
@click.option(
    "--strategy", type=click.Choice(["ddp", "fsdp"]), default="ddp", show_default=True, help="Under torchrun."
)
@click.option("--log-to", type=click.Choice(["tensorboard", "trackio"]), help="Metrics go there too.")
@click.option("--dry-run", is_flag=True, help="Count parameters and memory, and write nothing.")
@click.option(
    "--print-config", type=click.Choice(["llama-factory", "axolotl", "trl"]),
    help="Print the same for another trainer, and train nothing.",
)  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the run.")
@options.force
@options.as_json
@click.pass_obj
def train(
    registry: Registry,
    /,
    model: Path,
    data: tuple[str, ...],
    mix: tuple[str, ...],
    stage: str | None,
    preset: str | None,
    field: str,
    documents: str,
    on_bad_text: str,
    eval_target: str | None,
    eval_base: str | None,
    eval_every: int | None,
    eval_lines: int,
    max_base_regression: float | None,
    save_every: int | None,
    keep: int,
    stop_after: int | None,
    resume: bool,
    cache: Path | None,
    workers: int | None,
    device: str | None,
    strategy: str,
    log_to: str | None,
    dry_run: bool,
    print_config: str | None,
    output: Path | None,
    force: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Train new rows, adapters or both on text; `vocabkit fuse` makes a plain model of the run.

    \b
    Stages:
      rows      the new rows alone; everything else is frozen
      pretrain  adapters on attention and MLP, with the new rows
      instruct  the same on instructions or conversations, of which the responses are learned
    \b
    Examples:
      vocabkit train llm-zh --stage rows --data books/ --steps 500 -o run1
      vocabkit train llm-zh --stage pretrain --data zh=books/ --data en=en.txt --mix en=0.1 -o run2
      vocabkit train llm-zh --preset chinese-llama-7b --dry-run
      torchrun --nproc-per-node 4 -m vocabkit train llm-zh --stage pretrain --data books/ -o run2
    """
    from vocabkit.model.load import need_models
    from vocabkit.train.settings import settings_for

    need_models("training")
    settings = settings_for(stage, preset, given_numbers(given))
    if dry_run:
        from vocabkit.train.plan import plan

        _print_plan(plan(model, settings), as_json)
        return 0
    if not data:
        raise click.UsageError("name the text to train on with --data")
    if print_config:
        from vocabkit.train.external import config_for

        console.result(config_for(print_config, model, settings, _named(data), output))
        return 0
    if output is None:
        raise click.UsageError("name the folder of the run with -o")
    from vocabkit.cli.texts import read_lines
    from vocabkit.train.loop import Habits
    from vocabkit.train.run import Run
    from vocabkit.train.start import Machine, start
    from vocabkit.train.token_cache import default_folder

    reading = {"field": field, "documents": documents, "on_bad_text": on_bad_text}
    run = Run(output, model, settings, _named(data), _shares(mix), reading)
    if max_base_regression is not None and not eval_base:
        raise click.UsageError("--max-base-regression needs text of the base's language; name it with --eval-base")
    named = {"target": eval_target, "base": eval_base}
    texts = {name: read_lines(spec, registry, eval_lines, field) for name, spec in named.items() if spec}
    habits = Habits(save_every, eval_every, keep, max_base_regression, stop_after, log_to)
    machine = Machine(cache or default_folder(), workers, device, strategy)
    with console.progress(as_json) as progress:

        def report(step: Step, steps: int) -> None:
            progress.count(step.step, steps, "steps", _line(step))

        outcome = start(run, machine, habits, texts, resume=resume, force=force, say=progress.step, report=report)
    # Under torchrun every process is here.
    if os.environ.get("RANK", "0") == "0":
        _report(run, outcome, as_json)
    return {"done": 0, "paused": 0, "stopped": 130, "guarded": 1}[outcome.ended]


def given_numbers(options_given: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers that were given, as Settings names them."""
    found = {name: value for name, value in options_given.items() if value is not None}
    whole = [found.pop(name) for name in ("all_rows", "train_old_rows")]
    if any(whole):
        found["rows"] = "all"
    if "targets" in found:
        found["targets"] = tuple(part.strip() for part in found["targets"].split(",") if part.strip())
    return found


def _named(data: Sequence[str]) -> dict[str, list[str]]:
    """Return name -> texts: "en=a.txt" is named en, and what has no name is the target."""
    found: dict[str, list[str]] = {}
    for spec in data:
        match = re.fullmatch(r"([\w-]+)=(.+)", spec)
        name, text = match.groups() if match and not Path(spec).exists() else (TARGET, spec)
        found.setdefault(name, []).append(text)
    return found


def _shares(mix: Sequence[str]) -> dict[str, float]:
    found = {}
    for pair in mix:
        name, _, share = pair.partition("=")
        try:
            found[name] = float(share)
        except ValueError as error:
            raise click.UsageError(f"--mix {pair}: write NAME=SHARE, for example en=0.1") from error
    return found


def _line(step: Step) -> str:
    rate = step.tokens / step.seconds
    return (
        f"loss {step.loss:.3f}, {step.bits_per_byte:.3f} bits/byte, {rate:,.0f} tokens/s, "
        f"{step.bytes / step.seconds / 1e3:,.0f} kB/s, {step.new_tokens:.0%} new, {step.memory_bytes / 1e9:.1f} GB"
    )


def _report(run: Run, outcome: Outcome, as_json: bool) -> None:
    first, last = outcome.evaluated["first"], outcome.evaluated["last"]
    if as_json:
        console.result_json(
            {
                "run": str(run.folder),
                "ended": outcome.ended,
                "step": outcome.step,
                "steps": outcome.steps,
                "before": first,
                "after": last,
                "message": outcome.message,
            }
        )
        return
    console.result(f"{outcome.step:,} of {outcome.steps:,} steps; the run is in {run.folder}.")
    for name in first:
        change = last[name] / first[name] - 1
        console.result(f"  {name}: {first[name]:.4f} -> {last[name]:.4f} bits per byte ({change:+.1%})")
    if outcome.ended == "guarded":
        console.result(f"Stopped: {outcome.message}.")
    if outcome.ended in ("stopped", "paused"):
        console.result("Stopped; the same command with --resume goes on.")
    else:
        console.result(f"Next: vocabkit fuse {run.folder} -o {run.folder}-model")


def _print_plan(found: Any, as_json: bool) -> None:
    if as_json:
        console.result_json(found.to_json())
        return
    console.result(
        f"{found.trained:,} of {found.parameters:,} parameters train ({found.trained / found.parameters:.2%})"
    )
    console.table(
        "Parameters", ["part", "train", "of"], [[p.name, f"{p.trained:,}", f"{p.parameters:,}"] for p in found.parts]
    )
    rows = [[name, f"{size / 1e9:.2f} GB"] for name, size in found.memory.items()]
    console.table("Memory of one process, estimated", ["part", "size"], rows)
