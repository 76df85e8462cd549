"""`vocabkit fuse`: a run in, a plain model out; or an adapter as PEFT reads it."""

from __future__ import annotations

from pathlib import Path

import click

from vocabkit import console
from vocabkit.cli import options


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--base", type=click.Path(path_type=Path), help="The model it was trained from, if it was moved.")
@click.option("--step", type=click.IntRange(1), help="Of which checkpoint.  [default: the newest]")
@click.option("--probe", metavar="TEXT", help="What both are asked, to compare them.")
@click.option("--no-verify", is_flag=True, help="Do not compare the fused model with the run.")
@click.option(
    "--peft", type=click.Choice(["modules-to-save", "trainable-tokens"]),
    help="Write an adapter as PEFT reads it instead: with whole vocabulary matrices, or the new rows alone.",
)  # fmt: skip
@options.output
@options.force
@options.as_json
def fuse(
    runs: tuple[Path, ...],
    base: Path | None,
    step: int | None,
    probe: str | None,
    no_verify: bool,
    peft: str | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Add what runs learned to the model they started from, and check that it says the same.

    Adapters of several runs are added in their order; vocabulary rows are those of the last run that trained them.

    \b
    Examples:
      vocabkit fuse run1 -o llm-zh-1
      vocabkit fuse run2 --peft trainable-tokens -o adapter
    """
    from vocabkit.files import check_target
    from vocabkit.model.load import need_models

    need_models("fusing")
    from vocabkit.model.trained import base_of, read_trained
    from vocabkit.train.fuse import fuse as run
    from vocabkit.train.peft_format import export
    from vocabkit.train.probe import checked

    check_target(output, force)
    trained = [read_trained(folder, step) for folder in runs]
    folder = base_of(trained, base)
    if peft:
        if len(trained) != 1:
            raise click.UsageError("PEFT's format holds one run; name one")
        export(trained[0], folder, output, peft, force=force)
        document = {"output": str(output), "format": peft}
        if as_json:
            console.result_json(document)
        else:
            console.result(f"An adapter for {folder} is in {output}.")
            console.result(f'Next: PeftModel.from_pretrained(model, "{output}") in Python')
        return
    with console.progress(as_json) as progress:
        check = None if no_verify else checked(trained, folder, probe, progress.step)
        run(trained, folder, output, force=force, check=check, progress=progress.step)
    from vocabkit.manifest import read_manifest

    figures = (read_manifest(output) or {}).get("fused")
    if as_json:
        console.result_json({"output": str(output), "fused": figures})
        return
    if figures:
        console.result(
            f"{output} says what the run says: {figures['mean_kl']:.1e} nats a token apart on average, "
            f"{figures['max_kl']:.1e} at most ({figures['tolerance']:g} allowed), on {figures['tokens']} tokens."
        )
    else:
        console.result(f"{output} was written, and not compared with the run.")
    console.result(f"Next: vocabkit bench perplexity {output} {folder} --text HELD_OUT_TEXT")
