"""`vocabkit report`: a page, or a section of a model card, about an extended tokenizer or model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.report.facts import Facts

PAGE = Path("report.html")


@click.command()
@click.argument("out")
@click.option("--against", metavar="BASE", help="What it was made from.  [default: as recorded, when it is there]")
@click.option(
    "--text", multiple=True, metavar="TEXT", help="Text to measure on; may be repeated.  [default: the language's]"
)
@click.option("--lang", metavar="CODE", help="Whose script may change.  [default: as recorded]")
@click.option(
    "--run", "runs", multiple=True, type=click.Path(path_type=Path), metavar="RUN",
    help="A run of `vocabkit train` on it; may be repeated.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(["html", "markdown"]), default=None,
    help="A page, or a section of a model card.  [default: html]",
)  # fmt: skip
@click.option("--into-card", is_flag=True, help="Write the section into OUT/README.md, and keep what is there.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=None,
    help="File to write.  [default: report.html; markdown goes to stdout]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file when it is there.")
@options.as_json
@click.pass_obj
def report(
    registry: Registry,
    out: str,
    against: str | None,
    text: tuple[str, ...],
    lang: str | None,
    runs: tuple[Path, ...],
    kind: str | None,
    into_card: bool,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Show what extending OUT brought: one HTML file to look at anywhere, or a section for its model card.

    \b
    Examples:
      vocabkit report out -o report.html
      vocabkit report out --text news.txt --text law.txt --run run -o report.html
      vocabkit report merged.model --against tokenizer.model --lang zh -o merged.html
      vocabkit report out --into-card
    """
    from vocabkit.cli.reporting import gather
    from vocabkit.files import check_file_target, write_whole
    from vocabkit.report.card import CARD, render_card, write_into_card
    from vocabkit.report.page import render_page

    folder = Path(out)
    is_card = output is not None and output.resolve() == (folder / CARD).resolve()
    if into_card and output is not None and not is_card:
        raise click.UsageError(f"--into-card writes {folder / CARD}; leave --output away")
    if (into_card or is_card) and kind == "html":
        raise click.UsageError("a model card is Markdown; leave --format html away, or name another --output")
    into_card = into_card or is_card
    if into_card and not folder.is_dir():
        raise click.UsageError(f"{out} is no folder, and has no {CARD}; write the section elsewhere with --output")
    kind = kind or ("markdown" if into_card else "html")
    target = None if into_card else output or (PAGE if kind == "html" else None)
    if target is None and not into_card and as_json:
        raise click.UsageError("--json and the Markdown section cannot both go to stdout; name an --output")
    if target is not None:
        check_file_target(target, force)
        check_parent(target)
    with console.progress(as_json) as progress:
        facts = gather(registry, out, against=against, lang=lang, text=text, runs=runs, progress=progress.step)
        progress.step("Writing")
        content = render_page(facts) if kind == "html" else render_card(facts)
    if into_card:
        target = write_into_card(content, folder)
    elif target is not None:
        try:
            write_whole(target, content)
        except OSError as error:
            raise VocabkitError(f"cannot write {target}: {error.strerror}; choose another --output") from error
    if as_json:
        console.result_json({**facts.to_json(), "output": str(target), "bytes": len(content.encode())})
    elif target is None:
        console.piece(content)
    else:
        _say(facts, target, len(content.encode()))
    return 0


def check_parent(target: Path) -> None:
    """Raise UsageError when there is no folder to write into."""
    if not target.absolute().parent.is_dir():
        raise click.UsageError(f"{target.parent} does not exist; make it, or choose another --output")


def _say(facts: Facts, target: Path, size: int) -> None:
    verdict = f"FAILED {', '.join(facts.failed)}" if facts.failed else "every guarantee holds"
    console.result(f"{facts.name} against {facts.base_name}: {verdict}")
    console.result(f"  {len(facts.tokens):,} new tokens, {len(facts.dead):,} of them can never be produced")
    console.result(f"  {len(facts.english):,} of {facts.num_english} English lines changed")
    found = facts.per_character()
    if found:
        console.result(f"  {found[0]:.3f} -> {found[1]:.3f} tokens per character on {facts.characters:,} characters")
    console.result(f"File: {target} ({size / 1e6:.2f} MB)")
