"""`vocabkit guard`: exit 1 when a candidate is worse than its base on text of the base's language."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.measure.guard import Prediction, Segmentation
    from vocabkit.tokenizer.base import Tokenizer


@click.command()
@click.argument("base")
@click.argument("candidate")
@click.option(
    "--text", multiple=True, required=True, metavar="TEXT", help="Text of the base's language; may be repeated."
)
@click.option(
    "--max-loss", type=options.Share(), default="2%", show_default=True,
    help="By how much bits per byte may rise: 2% or 0.02.",
)  # fmt: skip
@click.option(
    "--max-changed", type=options.LinesOrShare(), metavar="LINES|SHARE",
    help="Lines that may be segmented anew: 3, 1% or 0.01.  [default: 0, or the --max-drift that CANDIDATE "
    "was made with]",
)  # fmt: skip
@click.option("--device", help="cpu, cuda, ...  [default: a GPU when there is one]")
@click.option("--dtype", default="auto", show_default=True, help="float32, bfloat16, ...")
@click.option("--context", type=click.IntRange(2), default=1024, show_default=True, help="Tokens seen at most.")
@options.as_json
@click.pass_obj
def guard(
    registry: Registry,
    base: str,
    candidate: str,
    text: tuple[str, ...],
    max_loss: float,
    max_changed: float | None,
    device: str | None,
    dtype: str,
    context: int,
    as_json: bool,
) -> int:
    """Fail when CANDIDATE predicts the base's language worse than BASE, or segments it anew.

    Two model folders are compared by both; of tokenizers only the segmentation is, which needs no torch.

    \b
    Examples:
      vocabkit guard ./Llama-3.2-1B llm-zh --text held-out.en.txt
      vocabkit guard ./Llama-3.2-1B llm-sw --text held-out.en.txt --max-loss 1% --max-changed 1%

    Exit code 1 when a limit is passed.
    """
    from vocabkit.cli.texts import read_lines
    from vocabkit.measure.guard import prediction, segmentation
    from vocabkit.rows.checkpoint import holds_model
    from vocabkit.tokenizer import open_tokenizer

    names = (base, candidate)
    has_model = [Path(name).is_dir() and holds_model(Path(name)) for name in names]
    if all(has_model):
        from vocabkit.model.load import need_models

        need_models("predicting text (of tokenizer.json files the segmentation is compared without)")
    lines = [line for spec in text for line in read_lines(spec, registry)]
    if not lines:
        raise VocabkitError(f"{', '.join(text)} holds no text; name another file with --text")
    old, new = open_tokenizer(base), open_tokenizer(candidate)
    allowed = _promised(registry, Path(candidate)) if max_changed is None else max_changed
    found = segmentation(old, new, lines, allowed)
    predicted = None
    with console.progress(as_json) as progress:
        if all(has_model):
            progress.step(f"Scoring {base}")
            before = _bits(Path(base), old, lines, device, dtype, context)
            progress.step(f"Scoring {candidate}")
            after = _bits(Path(candidate), new, lines, device, dtype, context)
            predicted = prediction(before, after, lines, max_loss)
    if has_model[0] != has_model[1]:
        console.note(f"note: {names[has_model.index(False)]} holds no model, so only the segmentation is compared")
    ok = found.ok and (predicted is None or predicted.ok)
    if as_json:
        document: dict[str, Any] = {
            "ok": ok,
            "base": base,
            "candidate": candidate,
            "text": list(text),
            "segmentation": found.to_json(),
            "bits_per_byte": predicted.to_json() if predicted else None,
        }
        console.result_json(document)
    else:
        _print(names, found, predicted)
    return 0 if ok else 1


def _promised(registry: Registry, candidate: Path) -> float:
    """Return the share of lines that an extension was allowed to change, 0 where nothing says so."""
    from vocabkit.manifest import read_manifest

    manifest = (read_manifest(candidate) if candidate.is_dir() else None) or {}
    said = manifest.get("arguments", {}).get("max_drift")
    if said is not None:
        return float(said)
    # What is made of an extended model knows its language alone.
    code = manifest.get("language")
    return registry.language(code).max_drift if code in registry.languages else 0.0


def _bits(
    folder: Path, tokenizer: Tokenizer, lines: list[str], device: str | None, dtype: str, context: int
) -> list[float]:
    from vocabkit.model.load import load_model
    from vocabkit.model.scores import document_bits
    from vocabkit.tokenizer.start import start_id

    model = load_model(folder, device=device, dtype=dtype)
    return document_bits(model, tokenizer.encode(lines), start_id(tokenizer), context=context)


def _print(names: tuple[str, str], found: Segmentation, predicted: Prediction | None) -> None:
    rows = [
        ["lines segmented anew", "0", f"{found.changed:,} of {found.lines:,}", f"{found.changed / found.lines:.2%}",
         "", f"{found.allowed:,}", "ok" if found.ok else "FAIL"],
    ]  # fmt: skip
    if predicted:
        loss = predicted.loss
        interval = "" if loss.low is None or loss.high is None else f"{loss.low:+.2%} to {loss.high:+.2%}"
        verdict = "ok" if predicted.ok else "FAIL"
        rows.append(
            ["bits per byte", f"{predicted.base:.4f}", f"{predicted.candidate:.4f}", f"{loss.value:+.2%}", interval,
             f"{predicted.limit:.2%}", verdict if predicted.is_resolved else f"{verdict}, not resolved"],
        )  # fmt: skip
    columns = ["", names[0], names[1], "change", "95 %", "allowed", ""]
    console.table(f"{found.lines:,} lines", columns, rows)
    for line in found.examples if not found.ok else ():
        console.result(f"  anew: {line[:100]}")
    if predicted and not predicted.is_resolved:
        console.note("note: not resolved: the interval holds the limit, so other lines may decide otherwise")
    if predicted and not predicted.ok:
        console.note("note: train with text of the base's language among the other: --data en=FILE --mix en=0.1")
