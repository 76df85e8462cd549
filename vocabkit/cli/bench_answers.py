"""`vocabkit bench code-switching`: measure texts that models wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.measure.code_switching import CodeSwitching, Rate

SHOWN = 3  # other languages in the table; --json has all


@click.command("code-switching")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--lang", required=True, metavar="CODE", help="Language that the answers should be in.")
@click.option("--allow", multiple=True, metavar="CODE", help="Language that may stand beside it; may be repeated.")
@click.option("--field", default="text", show_default=True, help="Field of a record that holds the answer.")
@click.option("--prompt-field", default="prompt", show_default=True, help="Field that holds what was asked, if any.")
@click.option("--scripts-only", is_flag=True, help="Tell languages apart by their scripts alone; needs no package.")
@options.as_json
@click.pass_obj
def code_switching(
    registry: Registry,
    files: tuple[Path, ...],
    lang: str,
    allow: tuple[str, ...],
    field: str,
    prompt_field: str,
    scripts_only: bool,
    as_json: bool,
) -> None:
    """How often answers hold another language than --lang; texts that people wrote give the baseline.

    FILES are JSON Lines as `vocabkit generate -o` writes them, its --json output in a .json file, or plain text
    with an answer on each line. Raw figures count every letter; filtered ones leave out code, addresses, units,
    names, quotations and words of the prompt. Telling languages of one script apart needs the extra `languages`.

    \b
    Examples:
      vocabkit generate llm-zh --prompts questions.jsonl --chat -o answers.jsonl
      vocabkit bench code-switching answers.jsonl references.txt --lang zh
    """
    from vocabkit.measure.answers import read_answers
    from vocabkit.measure.code_switching import code_switching as measure
    from vocabkit.measure.switches import expect

    expected = expect(lang, registry.languages, allow=allow, scripts_only=scripts_only)
    rows = [
        measure(str(file), read_answers(file, field=field, prompt_field=prompt_field), expected) for file in files
    ]
    if as_json:
        console.result_json({"rows": [row.to_json() for row in rows]})
        return
    columns = ["file", "samples", "counted", "switched", "share", "95 %", "of letters", "mostly other", "others"]
    cells = [_cells(row, name, rate) for row in rows for name, rate in (("raw", row.raw), ("filtered", row.filtered))]
    console.table(f"Answers in {lang}: how many hold another language", columns, cells)
    if expected.not_told_apart:
        console.note(f"note: not told apart from {lang}: {', '.join(expected.not_told_apart)}")


def _cells(row: CodeSwitching, name: str, rate: Rate) -> list[str]:
    others = [f"{other} {count:,}" for other, count in list(rate.others.items())[:SHOWN]]
    return [
        row.file,
        f"{row.samples:,}",
        name,
        f"{rate.samples:,}",
        f"{rate.share:.1%}",
        f"{rate.low:.1%}-{rate.high:.1%}",
        f"{rate.letter_share:.2%}",
        f"{rate.elsewhere:,}",
        ", ".join(others) or "-",
    ]
