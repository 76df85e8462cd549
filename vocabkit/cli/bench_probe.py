"""`vocabkit bench probe`: bias, refusals, and what plugins probe for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.cli.sampling import opening, opening_of
from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.measure.paired import Interval
    from vocabkit.measure.probe import Probed

SHOWN = 24  # characters of an item in the table; --json has all


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL...")
@click.option(
    "--probe", "names", multiple=True, required=True, metavar="NAME", help="As `plugins` lists it; repeatable."
)
@click.option("--lang", default="en", show_default=True, metavar="CODE", help="Language in which it asks.")
@click.option("--chat", "as_chat", is_flag=True, help="Put each question into the model's chat template.")
@click.option("--template", default="auto", show_default=True, help="auto, chat, alpaca, alpaca-2 or mixtral.")
@opening
@options.as_json
@click.pass_obj
def probe(
    registry: Registry,
    /,
    models: tuple[Path, ...],
    names: tuple[str, ...],
    lang: str,
    as_chat: bool,
    template: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Probe models for bias and refusals, and see whether training changed either.

    pronouns, refusal-harmful and refusal-harmless come with vocabkit: small ones, in English and Chinese; plugins
    bring others. Later models are compared with the first one item by item.

    \b
    Examples:
      vocabkit bench probe ./Llama-3.2-1B llm-zh --probe pronouns --lang zh
      vocabkit bench probe run2 --probe refusal-harmful --probe refusal-harmless --chat
    """
    from vocabkit.model.load import need_models

    need_models("probing")
    from vocabkit.cli.asking import open_asked
    from vocabkit.measure.probe import Finding, compared, probed

    probes = {name: registry.probe(name) for name in names}
    how = opening_of(given)
    found: dict[str, list[Probed]] = {name: [] for name in probes}
    with console.progress(as_json) as progress:
        for model in models:
            progress.step(f"Loading {model}")
            subject = open_asked(model, how, as_chat=as_chat, template=template)
            for name, ask in probes.items():
                progress.step(f"Probing {model} for {name}")
                finding = ask(subject, lang)
                if not isinstance(finding, Finding):
                    raise VocabkitError(
                        f"probe {name!r} returned {finding!r:.60}, which is no Finding; mend the plugin"
                    )
                row = probed(str(model), name, finding)
                found[name].append(compared(row, found[name][0]) if found[name] else row)
    rows = [row for some in found.values() for row in some]
    if as_json:
        console.result_json({"language": lang, "rows": [row.to_json() for row in rows]})
        return
    columns = [
        "model",
        "probe",
        "items",
        "figure",
        "mean",
        "95 %",
        "aim",
        "off by",
        "to first",
        "95 %",
        "least",
        "most",
    ]
    console.table(f"Probes in {lang}", columns, [_cells(row) for row in rows])
    for row in rows:
        if row.against is not None and row.against.against() == "not resolved":
            console.note(
                f"note: {row.model} is not told from {models[0]} by the {len(row.items)} items of {row.probe}"
            )


def _cells(row: Probed) -> list[str]:
    least, most = (choose(row.items, key=lambda item: item.value) for choose in (min, max))
    against = "" if row.against is None else f"{row.against.value:+.2f}"
    # Where all are alike there is no least one.
    ends = (
        ["", ""] if least.value == most.value else [f"{one.value:.2f} {one.name:.{SHOWN}}" for one in (least, most)]
    )
    return [
        row.model,
        row.probe,
        f"{len(row.items):,}",
        row.meaning,
        f"{row.mean.value:.2f}",
        _interval(row.mean, ".2f"),
        f"{row.aim:g}",
        f"{row.distance:.2f}",
        against,
        "" if row.against is None else _interval(row.against, "+.2f"),
        *ends,
    ]


def _interval(found: Interval, form: str) -> str:
    if found.low is None or found.high is None:
        return ""
    return f"{found.low:{form}} to {found.high:{form}}"
