"""The figures on the page: the size curve, bars for texts and scripts, the curves of training runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vocabkit.report.curves import Series, line_chart
from vocabkit.report.facts import Facts
from vocabkit.report.visible import as_html, as_line, as_text

if TYPE_CHECKING:
    from vocabkit.measure.before_after import Length
    from vocabkit.measure.paired import Interval
    from vocabkit.report.runs import RunCurves

MOST_SCRIPTS = 12
CURVE = "Every beginning of the vocabulary, in the order in which it was learned, is a tokenizer of its own."
BANDS = "Bands and columns named 95 % are where other lines like these would put it (lines resampled in pairs)."
NET = "compute times memory (the new rows with their training state)"


def curve_html(facts: Facts) -> str:
    """Return the size curve and its table, or why there is none."""
    curve = facts.curve
    if not curve.points:
        return f"<p>{as_line(curve.note)}</p>"
    columns = list(zip(*(point.texts for point in curve.points), strict=True))
    sizes = [point.size for point in curve.points]
    series = []
    for text, column in zip(facts.texts, columns, strict=True):
        ratios = [one.ratio for one in column]
        points = [(size, 100 * ratio.value) for size, ratio in zip(sizes, ratios, strict=True)]
        within = [(100 * ratio.low, 100 * ratio.high) for ratio in ratios if ratio.low is not None and ratio.high]
        series.append(Series(as_text(text.name), points, within if len(within) == len(points) else ()))
    knee = curve.knee
    chart = line_chart(
        series,
        "Tokens on the texts against the number of new tokens",
        x_label="new tokens",
        y_label="tokens, of the base's",
        y_text=lambda value: f"{value:g} %",
        mark=(knee.size, "knee") if knee and knee.size else None,
    )
    has_intervals = any(one.within for one in series)
    table = _curve_table(facts, has_intervals)
    wide = f'<div class="wide" tabindex="0" role="region" aria-label="Size curve">{table}</div>'
    # Three columns a text: more than one text needs the whole width.
    kind = "charts" if len(facts.texts) == 1 else ""
    said = f" {BANDS}" if has_intervals else ""
    return f'<p>{CURVE}{said}</p>{_knee(facts)}<div class="{kind}">{chart}{wide}</div>'


def _curve_table(facts: Facts, has_intervals: bool) -> str:
    curve, knee = facts.curve, facts.curve.knee
    within = '<th scope="col">95 %</th>' if has_intervals else ""
    net = '<th scope="col">net cost</th>' if curve.costs else ""
    heads = "".join(
        f'<th scope="col">{as_line(text.name)}</th><th scope="col">of base</th>{within}' for text in facts.texts
    )
    rows = []
    for place, point in enumerate(curve.points):
        cells = [f"<td>{curve.costs[place].cost.net:.3f}</td>"] if curve.costs else []
        for text in point.texts:
            cells.append(f'<td>{text.tokens:,}</td><td class="soft">{100 * text.ratio.value:.1f} %</td>')
            if has_intervals:
                cells.append(f'<td class="soft">{_interval(text.ratio) if place else ""}</td>')
        is_knee = bool(knee and knee.size and knee.size == point.size)
        name = f"{'knee ' if is_knee else ''}{point.size:,}"
        rows.append(f'<tr{" class=knee" if is_knee else ""}><th scope="row">{name}</th>{"".join(cells)}</tr>')
    top = f'<thead><tr><th scope="col">new tokens</th>{net}{heads}</tr></thead>'
    return f'<table class="figures">{top}{"".join(rows)}</table>'


def _interval(found: Interval) -> str:
    return "–" if found.low is None or found.high is None else f"{100 * found.low:.1f}–{100 * found.high:.1f}"


def _knee(facts: Facts) -> str:
    """Return a line about the size that the net cost asks for, nothing where no text is in the language."""
    knee = facts.curve.knee
    if not knee:
        return ""
    basis = f"Measured on the lines in {as_line(facts.language)}, for the shape of {as_line(facts.curve.shape)}."
    if not knee.size:
        said = f"Net cost has no knee: counting {NET}, every size costs more than shorter text saves."
        return f"<p>{said} {basis}</p>"
    more = "they are all that were learned" if facts.curve.knee_is_last else "twice as many save less than 1 % more"
    return (
        f"<p><b>The knee in net cost is at {knee.size:,} new tokens</b>: with them a character costs "
        f"{knee.cost.net:.2f} of what it costs the base, counting {NET}, and {more}. {basis} "
        f"<code>extend --size auto</code> takes the knee.</p>"
    )


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
