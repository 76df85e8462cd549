"""Line charts as SVG, drawn by ourselves: no script, no font, colours from the page's style."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 264
# Wide enough for figures of 15 units beside the label, which is what they are on a phone.
LEFT, RIGHT, TOP, BOTTOM = 74, 18, 14, 46
NUM_TICKS = 5
# Told apart by colour (Okabe and Ito) and by shape; the page's style gives colours to c0, c1, ...
SHAPES = ("circle", "square", "diamond", "ring")
MOST_MARKED = 24


@dataclass(frozen=True)
class Series:
    """A line with its name; points as (x, y), by x.

    within: lowest and highest y at each point, drawn as a band; () without one.
    """

    name: str
    points: Sequence[tuple[float, float]]
    within: Sequence[tuple[float, float]] = ()


def line_chart(
    series: Sequence[Series],
    title: str,
    *,
    x_label: str,
    y_label: str,
    from_zero: bool = True,
    y_text: Callable[[float], str] | None = None,
    mark: tuple[float, str] | None = None,
) -> str:
    """Return a chart of up to four series, with a legend where there are several.

    from_zero: the vertical axis begins at 0.  y_text: how its figures are written.
    mark: an x to draw a line at, and the word beside it.
    """
    drawn = [one for one in series if one.points][: len(SHAPES)]
    if not drawn:
        return ""
    xs = [x for one in drawn for x, _ in one.points]
    ys = [y for one in drawn for _, y in one.points] + [y for one in drawn for pair in one.within for y in pair]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(0.0 if from_zero else min(ys), max(ys))
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1e-9)
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM),
        )

    parts = []
    write = y_text or number
    for tick in y_ticks:
        _, y = place(x_low, tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{html.escape(write(tick))}</text>')
    for tick in x_ticks:
        if x_low <= tick <= x_high:
            x, _ = place(tick, y_low)
            parts.append(f'<path class="tick" d="M{x:.1f} {HEIGHT - BOTTOM}v4"/>')
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number(tick)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{html.escape(x_label)}</text>"
        f'<text class="label" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(y_label)}</text>"
    )
    if mark:
        parts.append(_marked(*place(mark[0], y_high), mark[1]))
    for index, one in enumerate(drawn):
        if one.within:
            xs_of = [x for x, _ in one.points]
            low, high = ([place(x, pair[end]) for x, pair in zip(xs_of, one.within, strict=True)] for end in (0, 1))
            parts.append(f'<path class="band c{index}" d="M{_joined([*high, *reversed(low)])}Z"/>')
        points = [place(x, y) for x, y in one.points]
        parts.append(f'<g class="c{index}"><path class="line" d="M{_joined(points)}"/>')
        marked = points if len(points) <= MOST_MARKED else points[-1:]
        parts += [_mark(SHAPES[index], x, y) for x, y in marked]
        parts.append("</g>")
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">{"".join(parts)}</svg>'
    return f"<figure>{svg}{_legend(drawn) if len(drawn) > 1 else ''}</figure>"


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers from at most `low` to at least `high`: (0, 103) -> [0, 50, 100, 150]."""
    if high <= low:
        high = low + (abs(low) or 1.0) * 0.5
    rough = (high - low) / NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(count * step, 12) for count in range(first, last + 1)]


def number(value: float) -> str:
    """Return a figure as people write it: 12000.0 -> "12,000", 0.25 -> "0.25"."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _marked(x: float, top: float, word: str) -> str:
    """Return a line from `top` to the bottom, and its word on the side that has room."""
    is_left = x < WIDTH * 0.6
    side = f'x="{x + (6 if is_left else -6):.1f}" text-anchor="{"start" if is_left else "end"}"'
    return (
        f'<path class="at" d="M{x:.1f} {top:.1f}V{HEIGHT - BOTTOM}"/>'
        f'<text class="label" {side} y="{top + 12:.1f}">{html.escape(word)}</text>'
    )


def _mark(shape: str, x: float, y: float) -> str:
    if shape == "square":
        return f'<rect class="mark" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'
    if shape == "diamond":
        return f'<path class="mark" d="M{x:.1f} {y - 4.2:.1f}l4.2 4.2l-4.2 4.2l-4.2-4.2z"/>'
    filled = "mark" if shape == "circle" else "mark ring"
    return f'<circle class="{filled}" cx="{x:.1f}" cy="{y:.1f}" r="3.3"/>'


def _legend(series: Sequence[Series]) -> str:
    items = [
        f'<li class="c{index}"><svg class="key" viewBox="0 0 28 12" aria-hidden="true">'
        f'<path class="line" d="M0 6H28"/>'
        f"{_mark(SHAPES[index], 14, 6)}</svg>{html.escape(one.name)}</li>"
        for index, one in enumerate(series)
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'
