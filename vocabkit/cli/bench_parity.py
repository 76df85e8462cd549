"""`vocabkit bench encode-length --parallel`: what languages pay over English for the same text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli.options import Command
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.measure.parity import Parity
    from vocabkit.tokenizer.base import Tokenizer

REFERENCE = "en"


def parallel_texts(command: Command) -> Command:
    """Add what names parallel texts and a picture of them."""
    decorators = (
        click.option(
            "--parallel", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
            help="Folder of parallel texts: CODE.txt for each language, a paragraph a line.",
        ),
        click.option("--reference", metavar="CODE", help="Language that is 1 under --parallel.  [default: en]"),
        click.option(
            "--picture", type=click.Path(path_type=Path), metavar="FILE",
            help="Draw the premiums into FILE.png or FILE.svg (extra `report`).",
        ),
        click.option("--force", is_flag=True, help="Replace the picture when it is there."),
    )  # fmt: skip
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def check(picture: Path | None, num_tokenizers: int, force: bool) -> None:
    """Find out whether the picture can be written, before anything is opened."""
    if picture is None:
        if force:
            raise click.UsageError("--force replaces a picture; name it with --picture")
        return
    from vocabkit.measure.parity_picture import check_picture

    check_picture(picture, num_tokenizers, force)


def show(
    registry: Registry,
    tokenizers: list[tuple[str, Tokenizer, int | None]],
    folder: Path,
    reference: str | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Measure, print the table or the JSON, and draw the picture."""
    from vocabkit.measure.parity import name_of, other_lengths, parity, read_parallel

    reference = reference or REFERENCE
    texts = read_parallel(folder, reference)
    rows = parity(tokenizers, texts, reference=reference)
    names = {code: name_of(code, registry.languages) for code in texts}
    others = other_lengths(texts, reference)
    if picture is not None:
        from vocabkit.measure.parity_picture import draw_parity

        draw_parity(rows, names, picture, reference=names[reference])
    if as_json:
        document: dict[str, Any] = {
            "reference": reference,
            "languages": [{"code": code, "name": names[code], "lines": len(texts[code])} for code in texts],
            "other_line_counts": others,
            "rows": [row.to_json() for row in rows],
            "picture": None if picture is None else str(picture),
        }
        console.result_json(document)
        return
    _table(rows, names, reference, len(texts[reference]))
    if others:
        counts = ", ".join(f"{code} {count}" for code, count in others.items())
        console.note(
            f"note: {len(others)} of {len(rows[0].premium)} files have not as many lines as {reference}.txt "
            f"({len(texts[reference])}); whole texts are compared: {counts}"
        )
    if picture is not None:
        console.note(f"wrote {picture}")


def _table(rows: list[Parity], names: dict[str, str], reference: str, num_lines: int) -> None:
    first = rows[0].premium
    cells = [
        [names[code], code, *(f"{row.premium[code]:.2f}" for row in rows)]
        for code in sorted(first, key=lambda code: (-first[code], code))
    ]
    cells.append(["mean", "", *(f"{row.mean:.2f}" for row in rows)])
    cells.append(["worst", "", *(f"{row.worst} {row.premium[row.worst]:.2f}" for row in rows)])
    cells.append([f"{names[reference]}, tokens", reference, *(f"{row.reference_tokens:,}" for row in rows)])
    title = f"Tokens, {names[reference]} = 1 ({num_lines:,} lines)"
    console.table(title, ["language", "code", *(row.tokenizer for row in rows)], cells)
