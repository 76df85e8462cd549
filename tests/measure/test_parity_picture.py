"""The picture of premiums holds what was measured, in an order and in colours that can be read."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from vocabkit.errors import VocabkitError
from vocabkit.measure.parity import Parity
from vocabkit.measure.parity_picture import STYLES, check_picture, draw_parity

pytest.importorskip("matplotlib")

NAMES = {"bo": "Tibetan", "zh": "Chinese", "sw": "Swahili", "xx": "བོད་སྐད་"}


def row(tokenizer: str, **premium: float) -> Parity:
    tokens = {code: round(100 * value) for code, value in premium.items()}
    mean = sum(premium.values()) / len(premium)
    return Parity(tokenizer, 100, tokens, premium, mean, max(premium, key=premium.__getitem__))


ROWS = [row("./models/base", bo=8.7, zh=1.5, sw=2.0, xx=3.0), row("out", bo=2.0, zh=0.95, sw=2.0, xx=3.0)]


def texts_of(svg: Path) -> list[str]:
    """Return the texts in an SVG file; matplotlib draws them as outlines, and writes each in a comment before."""
    return re.findall(r"<!-- (.*?) -->", svg.read_text(encoding="utf-8"))


def test_languages_stand_from_the_least_premium_up_with_their_names(tmp_path: Path) -> None:
    draw_parity(ROWS, NAMES, tmp_path / "p.svg", reference="English")
    texts = texts_of(tmp_path / "p.svg")
    # The font has no Tibetan letters, so that language is named by its code.
    assert [text for text in texts if text in {*NAMES, *NAMES.values()}] == ["Chinese", "Swahili", "xx", "Tibetan"]
    assert texts[-2:] == ["base", "out"]
    assert "1×" in texts
    assert any("English = 1" in text for text in texts)


def test_the_dots_lie_where_the_figures_say(tmp_path: Path) -> None:
    draw_parity(ROWS, NAMES, tmp_path / "p.svg", reference="English")
    svg = (tmp_path / "p.svg").read_text(encoding="utf-8")
    dots = {}
    for colour, *_ in STYLES[:2]:
        found = re.findall(
            rf'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="[^"]*stroke: {colour}', svg, re.I
        )
        # Four languages, and one more in the legend.
        dots[colour] = [(float(x), float(y)) for x, y in found][:4]
        assert len(found) == 5
    before, after = dots.values()
    # Chinese and Tibetan moved to the left, the two between them did not; rows are the same.
    assert [a < b for (a, _), (b, _) in zip(after, before, strict=True)] == [True, False, False, True]
    assert after[1:3] == before[1:3]
    assert [y for _, y in before] == sorted((y for _, y in before), reverse=True)


@pytest.mark.parametrize("name", ["p.png", "p.svg"])
def test_the_same_figures_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    for folder in ("one", "two"):
        draw_parity(ROWS, NAMES, tmp_path / folder / name, reference="English")
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == [name]


def test_a_png_can_be_printed(tmp_path: Path) -> None:
    from PIL import Image

    draw_parity(ROWS, NAMES, tmp_path / "p.PNG", reference="English")
    with Image.open(tmp_path / "p.PNG") as image:
        assert image.format == "PNG"
        assert image.info["dpi"][0] == pytest.approx(200, abs=0.1)
        colours = {f"#{r:02X}{g:02X}{b:02X}" for _, (r, g, b) in image.convert("RGB").getcolors(1 << 24) or []}
    assert {STYLES[0][0], STYLES[1][0], "#FFFFFF", "#000000"} <= colours


@pytest.mark.parametrize(
    "rows",
    [[row("one", zh=0.96)], [row(f"t{number}", zh=1.0 + number, bo=150.0) for number in range(6)]],
    ids=["one of all", "six with a wide range"],
)
def test_few_and_many_are_drawn_without_a_warning(rows: list[Parity], tmp_path: Path) -> None:
    draw_parity(rows, NAMES, tmp_path / "p.svg", reference="English")
    assert [text for text in texts_of(tmp_path / "p.svg") if text in {r.tokenizer for r in rows}] == [
        r.tokenizer for r in rows
    ]


def test_a_tokenizer_that_cannot_be_written_gets_a_number(tmp_path: Path) -> None:
    draw_parity([ROWS[0], row("模型", bo=2.0, zh=0.9, sw=2.0, xx=3.0)], NAMES, tmp_path / "p.svg", reference="བོད")
    assert texts_of(tmp_path / "p.svg")[-2:] == ["base", "tokenizer 2"]


def test_pictures_that_cannot_be_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there.png").write_text("mine")
    (tmp_path / "folder.svg").mkdir()
    check_picture(tmp_path / "new.png", 6, False)
    check_picture(tmp_path / "there.png", 2, True)
    for name, number, message in (
        ("p.jpg", 2, r"p\.jpg is neither \.png nor \.svg; name the picture FILE\.png or FILE\.svg"),
        ("p.png", 7, "at most 6 tokenizers, not 7; name fewer"),
        ("there.png", 2, r"there\.png exists; choose another --picture, or replace it with --force"),
        ("folder.svg", 2, r"folder\.svg is a folder; name a file in it"),
    ):
        with pytest.raises(VocabkitError, match=message):
            check_picture(tmp_path / name, number, False)
    # What Python finds when a package is not installed.
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(VocabkitError, match=r"a picture needs matplotlib: pip install 'vocabkit\[report\]'"):
        check_picture(tmp_path / "new.png", 2, False)
