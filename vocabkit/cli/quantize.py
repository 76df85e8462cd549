"""`vocabkit quantize`: a model in, the same in 4 or 8 bits out."""

from __future__ import annotations

from pathlib import Path

import click

from vocabkit import console
from vocabkit.cli import options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["nf4", "int8"]), default="nf4", show_default=True,
    help="4 bits in groups of 64, or 8 bits with a scale for each row.",
)  # fmt: skip
@click.option("--double-quant/--no-double-quant", default=True, help="Store the scales of NF4 in 8 bits.")
@click.option("--device", default="cpu", show_default=True, help="Where it is computed.")
@options.output
@options.force
@options.as_json
def quantize(
    model: Path, form: str, double_quant: bool, device: str, output: Path, force: bool, as_json: bool
) -> None:
    """Hold a model's linear layers in 4 or 8 bits, as bitsandbytes and transformers read them.

    Vocabulary matrices stay as they are.  bitsandbytes is not needed.

    \b
    Examples:
      vocabkit quantize llm-zh -o llm-zh-4bit
      vocabkit bench perplexity llm-zh llm-zh-4bit --text held-out.txt
    """
    from vocabkit.files import check_target
    from vocabkit.model.load import need_models

    need_models("quantising")
    from vocabkit.infer.quantize import quantize as run

    check_target(output, force)
    with console.progress(as_json) as progress:
        found = run(
            model, output, form, double_quant=double_quant, force=force, device=device, progress=progress.step
        )
    if as_json:
        console.result_json(
            {"output": str(output), "format": form, "layers": found.layers, "bytes": found.after, "was": found.before}
        )
        return
    share = found.after / max(found.before, 1)
    console.result(
        f"{output}: {found.layers:,} linear layers in {form}, {found.after / 1e6:,.0f} MB, {share:.0%} of the "
        f"{found.before / 1e6:,.0f} MB before."
    )
    console.result(f"Next: vocabkit bench perplexity {model} {output} --text HELD_OUT_TEXT")
