"""`vocabkit verify`: prove that a tokenizer extends another one and changes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.rows.checkpoint import Checkpoint
    from vocabkit.tokenizer.base import Tokenizer
    from vocabkit.vocabulary.verify import Certificate

MAX_LINES = 20_000


@click.command()
@click.argument("tokenizer")
@click.option("--against", required=True, metavar="BASE", help="The tokenizer it was made from.")
@click.option("--lang", metavar="CODE", help="Whose script may change.  [default: as recorded, or guessed]")
@click.option("--text", multiple=True, metavar="TEXT", help="Compare on the lines of this file too; may be repeated.")
@click.option(
    "--max-drift", type=click.FloatRange(0, 1), default=None, metavar="SHARE",
    help="Lines of English that may change where the script is English's too.  [default: as recorded]",
)  # fmt: skip
@click.option(
    "--base-text", multiple=True, metavar="TEXT",
    help="Text of the base's languages to measure that on.  [default: as recorded, when it is there]",
)  # fmt: skip
@options.as_json
@click.pass_obj
def verify(
    registry: Registry,
    tokenizer: str,
    against: str,
    lang: str | None,
    text: tuple[str, ...],
    max_drift: float | None,
    base_text: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check the guarantees of an extended tokenizer or model, whoever made it.

    Weights are compared when both sides are model folders.

    \b
    Example:
      vocabkit verify out --against ./Llama-3.2-1B
      vocabkit verify chinese_llama2.model --against llama-tokenizer.model --json

    Exit code 1 when a guarantee does not hold.
    """
    from vocabkit.cli.texts import read_lines
    from vocabkit.tokenizer import open_tokenizer

    lines = [line for spec in text for line in read_lines(spec, registry, MAX_LINES)]
    candidate, base = open_tokenizer(tokenizer), open_tokenizer(against)
    if candidate.size <= base.size and candidate.id_table == base.id_table:
        console.note("note: the two tokenizers have the same tokens")
    with console.progress(as_json) as progress:
        certificate = check(
            registry,
            candidate,
            base,
            Path(tokenizer) if Path(tokenizer).is_dir() else None,
            lang=lang,
            texts=lines,
            max_drift=max_drift,
            base_text=base_text,
            progress=progress.step,
        )
    if as_json:
        console.result_json(certificate.to_json())
    else:
        failed = ", ".join(certificate.failed)
        console.result(
            f"{tokenizer} against {against}: " + (f"FAILED {failed}" if failed else "every guarantee holds")
        )
        console.certificate(certificate)
    return 0 if certificate.ok else 1


def check(
    registry: Registry,
    candidate: Tokenizer,
    base: Tokenizer,
    folder: Path | None,
    *,
    lang: str | None = None,
    texts: Sequence[str] = (),
    max_drift: float | None = None,
    base_text: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> Certificate:
    """Run the checks on a candidate; what is not given is as the manifest in its folder recorded it."""
    from vocabkit.cli.texts import can_read, read_base_text
    from vocabkit.manifest import read_manifest
    from vocabkit.vocabulary.verify import verify as run

    manifest: dict[str, Any] = (read_manifest(folder) if folder else None) or {}
    code = lang or manifest.get("language")
    recorded = manifest.get("arguments", {})
    kept = list(base_text) or [spec for spec in recorded.get("base_text", []) if can_read(spec)]
    return run(
        candidate,
        base,
        folder=folder,
        language=registry.language(code) if code else None,
        added_specials=manifest.get("added_special", []),
        texts=texts,
        base_text=read_base_text(kept, registry).measured_on if kept else (),
        max_drift=recorded.get("max_drift") if max_drift is None else max_drift,
        weights=open_weights(candidate, base),
        pretokenizer=manifest.get("pretokenizer", "keep"),
        progress=progress,
    )


def open_weights(candidate: Tokenizer, base: Tokenizer) -> tuple[Checkpoint, Checkpoint] | None:
    """Return the models of base and candidate, when both are there."""
    from vocabkit.rows.checkpoint import holds_model, open_checkpoint

    folders = (base.source, candidate.source)
    if not all(folder.is_dir() and holds_model(folder) for folder in folders):
        return None
    return open_checkpoint(folders[0]), open_checkpoint(folders[1])
