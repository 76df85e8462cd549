"""What the page is drawn from: visible tokens, ticks, curves of runs."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vocabkit.errors import VocabkitError
from vocabkit.report.curves import Series, line_chart, ticks
from vocabkit.report.runs import read_run, thinned
from vocabkit.report.visible import as_html, as_markdown, as_script, direction, plain


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (b"\xe4\xbd", "<0xE4><0xBD>"),
        (b" the", "▁the"),
        ("▁中".encode(), "▁中"),
        (b"\n\t", "⏎⇥"),
        ("\u0301x".encode(), "◌\u0301x"),
        ("ක්\u200dර".encode(), "ක්\u200dර"),
        ("\u200d".encode(), "<U+200D>"),
        ("\u3000".encode(), "<U+3000>"),
        ("\ue000".encode(), "<U+E000>"),
        ("\u3164".encode(), "<U+3164>"),
        ("☀\ufe0f".encode(), "☀\ufe0f"),
        ("\ufe0f".encode(), "<U+FE0F>"),
    ],
)
def test_a_token_is_shown_by_what_can_be_seen(token: bytes, text: str) -> None:
    assert plain(token) == text


def test_a_token_that_spells_a_byte_is_told_from_the_byte() -> None:
    assert as_html(b"\xe4") == "<i>&lt;0xE4&gt;</i>"
    assert as_html(b"<0xE4>") == "&lt;0xE4&gt;"


def test_markdown_has_no_mark_left_that_means_something() -> None:
    assert as_markdown("a|b `c` <i> _d_") == r"a\|b \`c\` \<i\> \_d\_"
    assert "\n" not in as_markdown("a\nb")


def test_json_in_a_page_never_ends_its_element() -> None:
    data = ["</script>", "<!--", "]]>", "\u2028"]
    text = as_script(data)
    assert json.loads(text) == data
    assert not set("<>&\u2028") & set(text)


def test_the_direction_is_that_of_the_first_letter() -> None:
    assert direction("۔ 12 یہ Latin") == "rtl"
    assert direction("12 Latin یہ") == "ltr"
    assert direction("…") == "ltr"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 103), (0, 1), (2.9, 3.1), (-4, 7), (1e6, 1.5e6), (5, 5), (0, 0), (0, 1e-9)]
)
def test_ticks_are_round_and_hold_everything(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8
    steps = {round(b - a, 12) for a, b in pairwise(found)}
    assert len(steps) == 1


def test_a_chart_is_well_formed_and_its_points_lie_inside() -> None:
    series = [Series("a<b", [(0, 100), (500, 80), (12000, 41.5)]), Series("c", [(0, 7)]), Series("none", [])]
    figure = ElementTree.fromstring(line_chart(series, 'a "title" <', x_label="x & y", y_label="y"))
    svg = figure[0]
    assert svg.get("aria-label") == 'a "title" <'
    lines = [path for path in svg.iter("path") if path.get("class") == "line"]
    assert len(lines) == 2
    numbers = [part.split() for part in (lines[0].get("d") or "").removeprefix("M").split("L")]
    places = [(float(x), float(y)) for x, y in numbers]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    # Less is lower, and lower is further down.
    assert [y for _, y in places] == sorted(y for _, y in places)
    _, _, width, height = map(float, (svg.get("viewBox") or "").split())
    assert all(0 < x < width and 0 < y < height for x, y in places)
    assert line_chart([], "t", x_label="x", y_label="y") == ""


def test_a_band_and_a_mark_are_drawn_where_they_belong() -> None:
    points, within = [(0, 100), (500, 80), (1000, 60)], [(100, 100), (75, 90), (50, 130)]
    figure = ElementTree.fromstring(
        line_chart([Series("a", points, within)], "t", x_label="x", y_label="y", mark=(500, "<knee>"))
    )
    (svg,) = figure
    paths = {path.get("class"): path.get("d") or "" for path in svg.iter("path")}
    ends = [paths[name].strip("MZ").split("L") for name in ("line", "band c0")]
    line, band = ([tuple(map(float, place.split())) for place in places] for places in ends)
    # Along the upper ends, and back along the lower ones.
    assert [x for x, _ in band] == [x for x, _ in (*line, *reversed(line))]
    for (_, y), (_, high), (_, low) in zip(line, band[:3], reversed(band[3:]), strict=True):
        assert high <= y <= low
    assert all(y > 0 for _, y in band)
    assert float(paths["at"].removeprefix("M").split()[0]) == line[1][0]
    assert "<knee>" in [text.text for text in svg.iter("text")]


def test_a_run_is_read_past_half_lines_and_broken_losses(tmp_path: Path) -> None:
    lines = [
        '{"step": 0, "evaluated": {"base": 1.5}}',
        '{"step": 1, "loss": 3.0, "bits_per_byte": 2.0, "new_tokens": 0.5}',
        '{"step": 2, "loss": NaN, "bits_per_byte": 2.0, "new_tokens": 0.25, "evaluated": {"base": 1.25}}',
        '{"step": 3, "lo',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    run = read_run(tmp_path)
    assert run.steps == 2
    assert run.loss == ((1, 3.0),)
    assert run.new_tokens == ((1, 0.5), (2, 0.25))
    assert run.evaluated == {"base": ((0, 1.5), (2, 1.25))}
    (tmp_path / "metrics.jsonl").write_text(lines[0], encoding="utf-8")
    with pytest.raises(VocabkitError, match="holds no step yet"):
        read_run(tmp_path)


def test_thinning_keeps_ends_and_mean() -> None:
    points = [(float(x), float(x % 7)) for x in range(10_001)]
    found = thinned(points)
    assert len(found) <= 240
    assert (found[0], found[-1]) == (points[0], points[-1])
    assert sum(y for _, y in found) / len(found) == pytest.approx(sum(y for _, y in points) / len(points), abs=0.05)
    assert thinned(points[:240]) == tuple(points[:240])
