"""A picture of tokenization premiums: a line for each language, a dot on it for each tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vocabkit.errors import VocabkitError
from vocabkit.files import whole_file
from vocabkit.measure.parity import Parity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")
# Colour, shape, size in points, filled.  The colours are of Okabe and Ito, 2008: told apart by every kind of colour
# vision; shapes say the same in grey.  The first is a ring, so that it lies around the second where nothing changed.
STYLES = (
    ("#D55E00", "o", 8.0, False),
    ("#0072B2", "o", 4.2, True),
    ("#009E73", "s", 4.5, True),
    ("#CC79A7", "D", 4.5, True),
    ("#56B4E9", "^", 5.0, True),
    ("#000000", "v", 5.0, True),
)
WIDTH, ROW = 5.0, 0.2  # inches
MARGIN = 0.8  # inches above and below the rows
TICKS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100)
FINE_TICKS = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3)
# Below this ratio of the greatest to the smallest premium, round numbers alone are too few.
FINE_BELOW = 3.0


def check_picture(path: Path, num_tokenizers: int, force: bool) -> None:
    """Raise VocabkitError when a picture cannot be written to `path`, before anything is measured."""
    if path.suffix.lower() not in FORMATS:
        raise VocabkitError(f"{path} is neither .png nor .svg; name the picture FILE.png or FILE.svg")
    if num_tokenizers > len(STYLES):
        raise VocabkitError(f"a picture holds at most {len(STYLES)} tokenizers, not {num_tokenizers}; name fewer")
    if path.is_dir():
        raise VocabkitError(f"{path} is a folder; name a file in it")
    if path.exists() and not force:
        raise VocabkitError(f"{path} exists; choose another --picture, or replace it with --force")
    if find_spec("matplotlib") is None:
        raise VocabkitError("a picture needs matplotlib: pip install 'vocabkit[report]'")


def draw_parity(rows: Sequence[Parity], names: Mapping[str, str], path: Path, *, reference: str) -> None:
    """Write the premiums as a dot chart: languages from the greatest premium of the first tokenizer down.

    names: code -> name of the language.  reference: name of the language that is 1.
    The same figures give the same bytes with the same matplotlib.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    order = sorted(rows[0].premium, key=lambda code: (rows[0].premium[code], code))
    height = MARGIN + ROW * (len(order) + len(rows))
    settings = {"font.family": "DejaVu Sans", "font.size": 10, "svg.hashsalt": "vocabkit", "axes.linewidth": 0.6}
    with rc_context(settings):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        _draw_dots(axes, rows, order)
        _dress(axes, rows, [_drawable(names.get(code, code), code) for code in order], reference)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
        with whole_file(path) as temporary:
            figure.savefig(temporary, format=path.suffix.lower()[1:], dpi=200, metadata=metadata)


def _draw_dots(axes: Axes, rows: Sequence[Parity], order: Sequence[str]) -> None:
    places = range(len(order))
    lowest = [min(row.premium[code] for row in rows) for code in order]
    highest = [max(row.premium[code] for row in rows) for code in order]
    axes.hlines(places, lowest, highest, color="#C0C0C0", linewidth=2.0, zorder=1)
    for number, (row, (colour, marker, size, filled)) in enumerate(zip(rows, STYLES, strict=False), start=1):
        axes.plot(
            [row.premium[code] for code in order],
            places,
            linestyle="none",
            marker=marker,
            markersize=size,
            markerfacecolor=colour if filled else "white",
            markeredgecolor=colour,
            markeredgewidth=1.3,
            label=_drawable(_short(row.tokenizer), f"tokenizer {number}"),
            zorder=2 + number,
        )


def _dress(axes: Axes, rows: Sequence[Parity], labels: Sequence[str], reference: str) -> None:
    values = [value for row in rows for value in row.premium.values()] + [1.0]
    low, high = min(values) / 1.08, max(values) * 1.08
    ticks = [tick for tick in (FINE_TICKS if high / low < FINE_BELOW else TICKS) if low <= tick <= high]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(-0.7, len(labels) - 0.3)
    axes.set_yticks(range(len(labels)), labels)
    axes.axvline(1, color="black", linewidth=0.9, zorder=1.5)
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel(f"tokens for the same text, {_drawable(reference, 'reference')} = 1 (logarithmic)")
    # One column when there are several: names are of any length.
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "labelspacing": 0.2}
    axes.legend(ncols=2 if len(rows) == 2 else 1, frameon=False, handletextpad=0.2, **above)


def _short(name: str) -> str:
    """Return the last part of a path: "./models/llm-zh" -> "llm-zh"."""
    return Path(name).name or name


def _drawable(text: str, otherwise: str) -> str:
    """Return `text` when the font that matplotlib brings has all its characters."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    return text if all(font.get_char_index(ord(character)) for character in text) else otherwise
