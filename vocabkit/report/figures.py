"""The figures on the page: the size curve, bars for texts and scripts, the curves of training runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vocabkit.report.curves import Series, line_chart
from vocabkit.report.facts import Facts
from vocabkit.report.visible import as_html, as_line, as_text

if TYPE_CHECKING:
    from vocabkit.measure.before_after import Length
    from vocabkit.report.runs import RunCurves

MOST_SCRIPTS = 12
CURVE = "Every beginning of the vocabulary, in the order in which it was learned, is a tokenizer of its own."


def curve_html(facts: Facts) -> str:
    """Return the size curve and its table, or why there is none."""
    if not facts.curve:
        return f"<p>{as_line(facts.curve_note)}</p>"
    base = facts.curve[0].tokens
    series = [
        Series(as_text(text.name), [(point.size, 100 * point.tokens[i] / max(base[i], 1)) for point in facts.curve])
        for i, text in enumerate(facts.texts)
    ]
    chart = line_chart(
        series,
        "Tokens on the texts against the number of new tokens",
        x_label="new tokens",
        y_label="tokens, of the base's",
        y_text=lambda value: f"{value:g} %",
    )
    heads = "".join(f'<th scope="col">{as_line(text.name)}</th><th scope="col">of base</th>' for text in facts.texts)
    rows = "".join(
        f'<tr><th scope="row">{point.size:,}</th>'
        + "".join(
            f"<td>{count:,}</td><td>{100 * count / max(start, 1):.1f} %</td>"
            for count, start in zip(point.tokens, base, strict=True)
        )
        + "</tr>"
        for point in facts.curve
    )
    table = f'<table class="figures"><thead><tr><th scope="col">new tokens</th>{heads}</tr></thead>{rows}</table>'
    wide = f'<div class="wide" tabindex="0" role="region" aria-label="Size curve">{table}</div>'
    # Two columns a text: more than two texts need the whole width.
    kind = "charts" if len(facts.texts) <= 2 else ""
    return f'<p>{CURVE}</p><div class="{kind}">{chart}{wide}</div>'


def bars_html(facts: Facts) -> str:
    """Return tokens per character of each text and each script, as bars with their figures."""
    text = "<p>Tokens per character; a shorter bar is better.</p>"
    if facts.texts:
        text += f"<h3>By text</h3>{_bars(facts.texts)}"
    if facts.scripts:
        text += f"<h3>By script</h3>{_bars(facts.scripts[:MOST_SCRIPTS])}"
    return text


def _bars(rows: Sequence[Length]) -> str:
    values = [[side / max(row.characters, 1) for side in (row.before, row.after)] for row in rows]
    longest = max((max(pair) for pair in values), default=0.0) or 1.0
    items = []
    for row, (before, after) in zip(rows, values, strict=True):
        bars = "".join(
            f'<div class="bar {kind}" style="--w:{value / longest:.4f}"><span></span><b>{value:.3f}</b> '
            f"<small>{kind}</small></div>"
            for kind, value in (("before", before), ("after", after))
        )
        items.append(
            f'<tr><th scope="row">{as_line(row.name)}<small>{row.characters:,} characters</small></th>'
            f"<td>{bars}</td><td>{change(row.before, row.after)}</td></tr>"
        )
    return f'<table class="bars">{"".join(items)}</table>'


def runs_html(runs: Sequence[RunCurves]) -> str:
    """Return the section of training runs, nothing without one."""
    return f'<section id="runs"><h2>Training</h2>{"".join(map(_run, runs))}</section>' if runs else ""


def _run(run: RunCurves) -> str:
    charts = [line_chart([Series("loss", run.loss)], "Loss", x_label="step", y_label="nats a token", from_zero=False)]
    bits = [Series(f"held out: {as_text(name)}", points) for name, points in run.evaluated.items()]
    bits.append(Series("trained on", run.trained))
    charts.append(line_chart(bits, "Bits per byte", x_label="step", y_label="bits per byte", from_zero=False))
    if run.new_tokens:
        share = Series("new tokens", [(x, 100 * y) for x, y in run.new_tokens])
        charts.append(
            line_chart(
                [share],
                "New tokens among those learned from",
                x_label="step",
                y_label="new tokens",
                y_text=lambda value: f"{value:g} %",
            )
        )
    titles = ("Loss", "Bits per byte", "New tokens in the text")
    drawn = "".join(f"<div><h4>{title}</h4>{chart}</div>" for title, chart in zip(titles, charts, strict=False))
    ends = "; ".join(
        f"{as_html(name)} {points[0][1]:.4f} → {points[-1][1]:.4f}" for name, points in run.evaluated.items()
    )
    said = f" Bits per byte of held-out text: {ends}." if ends else ""
    return f'<h3>{as_line(run.name)}</h3><p>{run.steps:,} steps.{said}</p><div class="charts">{drawn}</div>'


def change(before: float, after: float) -> str:
    """Return a change in per cent: (4, 3) -> "−25 %"."""
    if not before:
        return "–"
    text = f"{100 * (after / before - 1):+.0f} %"
    return "0 %" if text[1:] == "0 %" else text.replace("-", "−")
