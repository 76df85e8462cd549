"""A section for a model card: what an extension brought, what holds of it, and what does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vocabkit.errors import VocabkitError
from vocabkit.files import write_whole
from vocabkit.manifest import record_file
from vocabkit.report.facts import Facts
from vocabkit.report.visible import as_markdown

if TYPE_CHECKING:
    from vocabkit.measure.before_after import Length

CARD = "README.md"
BEGIN, END = "<!-- vocabkit report -->", "<!-- end of vocabkit report -->"
# Dead tokens that are named, and characters of a check's detail.
EXAMPLES, DETAIL = 8, 300


def render_card(facts: Facts) -> str:
    """Return the section as Markdown, between the markers by which the next one replaces it."""
    language = f" for {as_markdown(facts.language)}" if facts.language else ""
    parts = [
        f"## Vocabulary extension{language}",
        f"{as_markdown(facts.base_name)} was extended by {len(facts.tokens):,} tokens. "
        f"Measured by `vocabkit report`; tokens say what a text costs, not what a model knows.",
        _sizes(facts),
        _gains(facts),
        _certificate(facts),
        _limits(facts),
        _made(facts),
    ]
    return f"{BEGIN}\n" + "\n\n".join(part for part in parts if part) + f"\n{END}\n"


def write_into_card(section: str, folder: Path) -> Path:
    """Put a section into the README.md of `folder`, in the place of the one before or at the end; return its path.

    Everything outside the markers stays as it is, and the manifest gets the file's new checksum.
    Raises VocabkitError when the card is no text, or has one marker without the other.
    """
    path = folder / CARD
    try:
        with path.open(encoding="utf-8", newline="") as file:
            before = file.read()
    except FileNotFoundError:
        before = ""
    except UnicodeDecodeError as error:
        raise VocabkitError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8 first") from error
    write_whole(path, placed(section, before, path))
    record_file(folder, CARD)
    return path


def placed(section: str, card: str, path: Path) -> str:
    """Return a card with the section in it."""
    counts = card.count(BEGIN), card.count(END)
    if counts == (0, 0):
        gap = "" if not card else "\n" if card.endswith("\n") else "\n\n"
        return card + gap + section
    start, end = card.find(BEGIN), card.find(END)
    if counts != (1, 1) or end < start:
        raise VocabkitError(f"{path} needs one {BEGIN!r} and one {END!r} after it, or neither; mend it and run again")
    return card[:start] + section.rstrip("\n") + card[end + len(END) :]


def _sizes(facts: Facts) -> str:
    rows = [
        ("tokens", f"{facts.base_size:,}", f"{facts.size:,}"),
        ("family", facts.family, facts.family),
    ]
    found = facts.per_character()
    if found:
        rows.append(("tokens per character", f"{found[0]:.3f}", f"{found[1]:.3f}"))
    text = _table(("", "base", "extended"), rows)
    return f"{text}\n\nThe tokens need {facts.rows:,} embedding rows, padding included."


def _gains(facts: Facts) -> str:
    text = ""
    for title, lengths in (("text", facts.texts), ("script", facts.scripts)):
        if lengths:
            heads = (title, "characters", "tokens before", "after", "change")
            text += ("\n\n" if text else "") + _table(heads, [_gain(row) for row in lengths])
    return f"### What texts take\n\n{text}" if text else ""


def _gain(row: Length) -> tuple[str, ...]:
    change = f"{100 * (row.ratio - 1):+.1f} %"
    return row.name, f"{row.characters:,}", f"{row.before:,.0f}", f"{row.after:,.0f}", change


def _certificate(facts: Facts) -> str:
    rows = [
        (check["name"], "ok" if check["ok"] else "FAIL", check["title"], str(check["detail"])[:DETAIL])
        for check in facts.certificate["checks"]
    ]
    verdict = f"fails {', '.join(facts.failed)}" if facts.failed else "every guarantee holds"
    return f"### Certificate: {verdict}\n\n{_table(('', '', 'guarantee', 'evidence'), rows)}"


def _limits(facts: Facts) -> str:
    init = facts.manifest.get("init")
    points = []
    if facts.dead:
        names = " · ".join(as_markdown(_text(token.token)) for token in facts.dead[:EXAMPLES])
        more = " · ..." if len(facts.dead) > EXAMPLES else ""
        points.append(f"**{len(facts.dead):,} new tokens can never be produced**: {names}{more}")
    if facts.english:
        points.append(
            f"**{len(facts.english):,} of {facts.num_english} English lines are cut otherwise** than by the base."
        )
    if init and not facts.runs:
        points.append(f"The new rows were made by {as_markdown(str(init))}; no training is recorded here.")
    for run in facts.runs:
        ends = [
            f"{as_markdown(name)} {points[0][1]:.4f} to {points[-1][1]:.4f}" for name, points in run.evaluated.items()
        ]
        said = f"; bits per byte of held-out text: {', '.join(ends)}" if ends else ""
        points.append(f"Trained for {run.steps:,} steps ({as_markdown(run.name)}){said}.")
    if facts.texts:
        points.append(
            f"Measured on {facts.characters:,} characters, in which {facts.used:,} of {len(facts.tokens):,} new "
            f"tokens stand; other text gains more or less."
        )
    else:
        points.append("No text of the language was given, so no gain was measured.")
    return "### Limits\n\n" + "\n".join(f"- {point}" for point in points)


def _made(facts: Facts) -> str:
    if not facts.manifest:
        return ""
    command = as_markdown(str(facts.manifest.get("command", "?")))
    return f"### How it was made\n\nBy `vocabkit {command}`:\n\n{_table(('argument', 'value'), facts.made_by())}"


def _text(token: bytes) -> str:
    return token.decode(errors="vocabkit_escape")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(as_markdown(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)
