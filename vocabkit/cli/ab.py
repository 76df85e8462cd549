"""`vocabkit ab`: the same training with and without an extension, from several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.cli.train import given_numbers, numbers
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.ab.readouts import Readout
    from vocabkit.train.metrics import Step

# A fifth of replayed text held most of the base's language in benchmarks/adaptation.py.
MIX = 0.2


@click.command()
@click.argument("base", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("extended", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--data", multiple=True, required=True, metavar="TEXT", help="Text of the new language to train on.")
@click.option("--eval", "eval_target", required=True, metavar="TEXT", help="Held-out lines of the new language.")
@click.option("--eval-base", required=True, metavar="TEXT", help="Held-out lines of the base's language.")
@click.option("--eval-lines", type=click.IntRange(1), default=200, show_default=True, help="Lines of each, at most.")
@click.option("--bytes", "max_bytes", type=options.Size(), help="Bytes of --data, at most.  [default: all]")
@click.option("--steps-limit", type=click.IntRange(1), help="Less text: about so many steps of the unextended arm.")
@click.option("--replay", multiple=True, metavar="TEXT", help="Text of the base's language to mix in.")
@click.option("--mix", type=options.Share(), help="Share of all bytes that is --replay.  [default: 20%]")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs of each arm.")
@click.option(
    "--lang", metavar="CODE", help="Of the new text, for code-switching.  [default: what EXTENDED was made for]"
)
@click.option("--random-init", is_flag=True, help="One more arm, whose new rows are drawn at random.")
@click.option(
    "--stage", type=click.Choice(["rows", "pretrain"]), default="pretrain", show_default=True, help="What trains."
)
@numbers
@click.option("--field", default="text", show_default=True, help="Field of JSON Lines and Parquet records.")
@click.option("--workers", type=click.IntRange(1), help="Threads that tokenise.  [default: cores]")
@click.option("--device", help="cpu, cuda, ...  [default: a GPU when there is one]")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the experiment.")
@options.force
@options.as_json
@click.pass_obj
def ab(
    registry: Registry,
    /,
    base: Path,
    extended: Path,
    data: tuple[str, ...],
    eval_target: str,
    eval_base: str,
    eval_lines: int,
    max_bytes: int | None,
    steps_limit: int | None,
    replay: tuple[str, ...],
    mix: float | None,
    seeds: int,
    lang: str | None,
    random_init: bool,
    stage: str,
    field: str,
    workers: int | None,
    device: str | None,
    output: Path,
    force: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Train BASE and EXTENDED on the same documents in the same order, and say what differs and how sure that is.

    EXTENDED is trained twice: on as many bytes as BASE, and with as much compute. The same command goes on where it
    was stopped, with more --seeds too. All vocabulary rows train, unless --rows says otherwise.

    \b
    Example:
      vocabkit ab ./Llama-3.2-1B llm-zh --data books/ --eval zh.held.txt --eval-base en.held.txt \\
        --bytes 50M --replay en.txt -o ab
    """
    from vocabkit.model.load import need_models

    need_models("training")
    from vocabkit.ab.design import Design
    from vocabkit.ab.documents import BASE, REPLAY, TARGET, Texts, read_documents
    from vocabkit.ab.experiment import TABLES, Watcher, run_experiment
    from vocabkit.ab.readouts import BITS
    from vocabkit.ab.results import tables
    from vocabkit.cli.texts import read_lines
    from vocabkit.train.settings import settings_for

    if mix is not None and not replay:
        raise click.UsageError("--mix is the share of --replay; name that text too")
    # Arms differ by their vocabulary alone: one has no new rows to train, so rows of all tokens are.
    settings = settings_for(stage, None, {"rows": "all", **given_numbers(given)})
    share = 0.0 if not replay else MIX if mix is None else mix
    readouts = (*BITS, *_switching(registry, lang, extended))
    design = Design(output, base, extended, settings, seeds, random_init, share, max_bytes, steps_limit, readouts)
    trained = {TARGET: read_documents(data, registry, field)}
    if share:
        trained[REPLAY] = read_documents(replay, registry, field)
    names = {TARGET: eval_target, BASE: eval_base}
    texts = Texts(trained, {name: read_lines(spec, registry, eval_lines, field) for name, spec in names.items()})
    with console.progress(as_json) as progress:

        def report(step: Step, steps: int) -> None:
            progress.count(step.step, steps, "steps", f"{step.bits_per_byte:.3f} bits/byte")

        watcher = Watcher(progress.step, report)
        found = run_experiment(design, texts, names, watcher, force=force, workers=workers, device=device)
    if found is None:
        console.note(f"Stopped; the same command goes on. The experiment is in {output}.")
        return 130
    if as_json:
        console.result_json(found)
        return 0
    for title, columns, rows in tables(found):
        console.table(title, columns, rows)
    console.result(f"Differences: {found['method']}.")
    if found["speed_not_measured"]:
        console.result(f"Speed was not measured: {found['speed_not_measured']}.")
    if found["not_measured"]:
        console.result(f"Not measured, for the models cannot write with a cache: {', '.join(found['not_measured'])}.")
    console.result(found["caveat"])
    if seeds == 2:
        console.note("note: two seeds leave wide intervals; more can be added with the same command")
    console.result(f"The tables are in {output / TABLES}, every run in {output / 'arms'}.")
    return 0


def _switching(registry: Registry, lang: str | None, extended: Path) -> tuple[Readout, ...]:
    """Return how often continuations leave the language, where it is known."""
    from vocabkit.ab.readouts import switching
    from vocabkit.manifest import read_manifest
    from vocabkit.measure.identify import can_identify
    from vocabkit.measure.switches import expect

    code = lang or (read_manifest(extended) or {}).get("language")
    if code is None:
        console.note("note: code-switching is not measured: nothing says the language of the new text; name --lang")
        return ()
    expected = expect(code, registry.languages, scripts_only=not can_identify())
    if expected.not_told_apart:
        console.note(f"note: code-switching does not tell apart from {code}: {', '.join(expected.not_told_apart)}")
    return (switching(expected),)
