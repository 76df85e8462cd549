"""The report in a real browser: it asks nobody, finds tokens, fits a phone, and hostile tokens stay text."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from browser import watched
from click.testing import CliRunner
from runs import vocabkit_json
from support import data_file

from vocabkit.cli import build_cli
from vocabkit.cli.sizing import shape_before
from vocabkit.language import Language
from vocabkit.plugins import Registry
from vocabkit.report.cost import SHAPES
from vocabkit.report.facts import Facts
from vocabkit.report.page import render_page
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.train.metrics import Step, append
from vocabkit.vocabulary.recipes import find_recipe
from vocabkit.vocabulary.vocabulary_file import read_vocabulary, write_vocabulary

MOST_BYTES = 3_000_000


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return what opens a file; in the end nothing was asked for, and nothing went wrong."""
    contexts = []
    pages = []

    def open_page(path: Path, width: int = 1100, **more: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **more)
        contexts.append(context)
        page = watched(context)
        page.goto(path.as_uri())
        pages.append((page, path.as_uri()))
        return page

    yield open_page
    for page, address in pages:
        assert page.problems == []
        assert [url for url in page.asked if url != address and not url.startswith("data:")] == []
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def report(made: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about the small extension, with a text, weights and a run."""
    folder = tmp_path_factory.mktemp("page")
    run = folder / "run"
    run.mkdir()
    append(run, {"step": 0, "evaluated": {"target": 3.0, "base": 1.1}})
    for number in range(1, 401):
        evaluated = {"target": 3.0 - number / 400, "base": 1.1 + number / 40000} if number % 100 == 0 else {}
        step = Step(number, 8.0 - number / 100, 3.0, 1.0, 1e-3, 1000, 3000, 0.6, {"zh": 1}, 1.0, 1, evaluated)
        append(run, asdict(step))
    text = folder / "own.txt"
    text.write_text(
        "今天天气很好，我们一起去公园散步，看见很多人在湖边钓鱼。\n"
        "这本书的内容很好，朋友也看过，下次还会再买别的书。\n"
        "The room was clean and the breakfast was good.\n",
        encoding="utf-8",
    )
    target = folder / "report.html"
    result = CliRunner().invoke(
        build_cli(registry),
        ["report", str(made), "--text", str(text), "--run", str(run), "-o", str(target), "--json"],
        obj=registry,
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["certificate"]["stored"]
    assert found["bytes"] == target.stat().st_size < MOST_BYTES
    return target


def test_tokens_are_searched_and_sorted_by_keyboard_alone(
    report: Path, opened: Callable[..., Any], learned: list[NewToken]
) -> None:
    page = opened(report)
    rows = page.locator("#tokens-table tbody tr")
    assert rows.count() == 100
    assert "600 tokens" in page.text_content("#found")
    page.keyboard.press("/")
    page.keyboard.type("书")
    wanted = [token.text for token in learned if "书" in token.text]
    assert wanted
    assert [cell.strip() for cell in page.locator("#tokens-table td:first-child").all_text_contents()] == wanted
    page.fill("#find", "32,003")
    assert page.locator("#tokens-table td:first-child").all_text_contents() == [learned[3].text]
    page.fill("#find", "no such token")
    assert rows.count() == 0
    page.fill("#find", "")
    page.focus('#tokens-table th[data-by="u"] button')
    page.keyboard.press("Enter")
    uses = [int(cell) for cell in page.locator('#tokens-table td[data-name="in the texts"]').all_text_contents()]
    assert uses == sorted(uses, reverse=True)
    assert uses[0] > 0
    page.select_option("#which", "unused")
    assert set(page.locator('#tokens-table td[data-name="in the texts"]').all_text_contents()) == {"0"}
    page.select_option("#which", "all")
    page.click("#on")
    assert "101–200" in page.text_content("#found")


def test_the_nearest_old_row_is_found_in_the_weights(
    report: Path, opened: Callable[..., Any], mistral: Tokenizer
) -> None:
    page = opened(report)
    page.fill("#find", "32000")
    near = page.locator('#tokens-table td[data-name="near"]').first.text_content()
    name = (mistral.token_bytes(1000) or b"").decode()
    assert near.startswith(f"{name} 1.00")


@pytest.mark.parametrize("width", [320, 375, 1100])
def test_it_never_scrolls_sideways(report: Path, opened: Callable[..., Any], width: int) -> None:
    page = opened(report, width)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shots = os.environ.get("VOCABKIT_SCREENSHOT")
    if shots:
        page.screenshot(path=f"{shots}-{width}.png", full_page=True)


def test_it_is_light_or_dark_as_its_reader_prefers(report: Path, opened: Callable[..., Any]) -> None:
    def brightness(scheme: str) -> tuple[float, float]:
        page = opened(report, color_scheme=scheme)
        colours = page.evaluate(
            "(() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color] })()"
        )
        paper, ink = (sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 765 for colour in colours)
        return paper, ink

    paper, ink = brightness("light")
    assert paper > 0.9 > 0.2 > ink
    paper, ink = brightness("dark")
    assert paper < 0.2 < 0.8 < ink


def test_every_part_is_there_and_paper_shows_what_is_folded(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    assert page.locator("h2").all_text_contents() == [
        "Certificate", "Before and after", "How many tokens are enough", "New tokens", "Texts and scripts",
        "Training",
    ]  # fmt: skip
    assert page.locator("svg[role=img]").count() == 4
    assert page.locator(".figures tr").count() == 1 + 3  # 0, 500 and 600 tokens
    # A closed <details> has a box and is not drawn.
    is_drawn = "document.querySelector('dl').checkVisibility()"
    assert not page.evaluate(is_drawn)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(is_drawn)
    assert not page.locator(".tools").is_visible()
    assert page.pdf().startswith(b"%PDF")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert not page.evaluate(is_drawn)


def test_the_size_curve_shows_intervals_and_the_knee_as_advise_counts_it(
    made: Path, chinese_lines: list[str], opened: Callable[..., Any], tmp_path: Path
) -> None:
    corpus, held = tmp_path / "corpus.txt", tmp_path / "held.txt"
    corpus.write_text("\n".join(chinese_lines[:2000]), encoding="utf-8")
    held.write_text("\n".join([*chinese_lines[3000:3200], "No Chinese here."]), encoding="utf-8")
    found = vocabkit_json("report", made, "--text", held, "-o", tmp_path / "page.html")
    advice = vocabkit_json("advise", "--lang", "zh", "--corpus", corpus, "--text", held, "--max-size", 600)
    knee = next(point for point in advice["curve"] if point["size"] == found["knee"]["size"])
    assert found["knee"]["model_shape"] == "llama-7b"
    assert (found["knee"]["size"], found["knee"]["rows"]) == (600, knee["rows"])
    assert knee["net"] == min(point["net"] for point in advice["curve"])
    # What advise learned from is nine lines of ten of what the report's tokens were learned from.
    assert found["knee"]["net"] == pytest.approx(knee["net"], rel=0.02)
    ratio = found["curve"][-1]["ratios"][0]
    assert ratio["low"] < ratio["value"] < ratio["high"] < ratio["low"] + 0.1
    page = opened(tmp_path / "page.html")
    assert page.locator("#size .band").count() == 1
    assert page.locator("#size .at").count() == 1
    assert f"The knee in net cost is at {knee['size']:,} new tokens" in page.text_content("#size")
    row = page.locator("#size .knee").locator("th, td").all_text_contents()
    assert row[0] == f"knee {knee['size']:,}"
    assert row[1] == f"{found['knee']['net']:.3f}"
    assert row[-1] == f"{100 * ratio['low']:.1f}–{100 * ratio['high']:.1f}"


def test_costs_are_of_the_model_before_it_was_extended(mistral: Tokenizer, tmp_path: Path) -> None:
    candidate = mistral.extended([NewToken("书".encode() * 2, (), 1)])
    assert shape_before(mistral, candidate) == (SHAPES["llama-7b"], "llama-7b")
    candidate.save(tmp_path)
    config = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 32064}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shape, name = shape_before(mistral, open_tokenizer(tmp_path))
    assert (shape.width, shape.vocabulary, name) == (64, 32000, "this model's config.json")
    shape, name = shape_before(open_tokenizer(tmp_path), candidate)
    assert (shape.width, shape.vocabulary, name) == (64, 32064, "the base's config.json")
    (tmp_path / "config.json").write_text('{"vocab_size": 32064}', encoding="utf-8")
    assert shape_before(mistral, open_tokenizer(tmp_path))[1] == "llama-7b"


def test_a_text_in_another_language_has_a_curve_and_no_knee(
    made: Path, opened: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "en.txt").write_text("Nothing of this is Chinese.\n" * 12, encoding="utf-8")
    found = vocabkit_json("report", made, "--text", tmp_path / "en.txt", "-o", tmp_path / "page.html")
    assert found["knee"] is None
    assert {ratio["value"] for point in found["curve"] for ratio in point["ratios"]} == {1.0}
    page = opened(tmp_path / "page.html")
    assert page.locator("#size .at").count() == 0
    assert "knee" not in page.text_content("#size")


def test_without_scripts_only_the_search_is_missing(
    report: Path, opened: Callable[..., Any], learned: list[NewToken]
) -> None:
    page = opened(report, java_script_enabled=False)
    assert not page.locator(".tools").is_visible()
    assert page.locator("#tokens-table tbody tr").count() == 100
    assert page.locator("svg[role=img]").count() == 4
    listed = page.locator(".listing bdi").all_text_contents()
    assert listed == [token.text for token in learned]


def test_hostile_tokens_stay_text(
    mistral: Tokenizer, facts_of: Callable[..., Facts], opened: Callable[..., Any], tmp_path: Path
) -> None:
    hostile = [
        "</script><script>alert(1)</script>", "<img/src=x/onerror=alert(2)>", "\"'><b>", "{{data}}", "<!--<script>",
        "</title><h1>", "\u202ecba", "a\u2066b", "x\x07y", "p\u2028q", "&lt;b&gt;", "\ufeffz", "e\u0301\u0327",
        "\u2069",
    ]  # fmt: skip
    new = [text for text in hostile if mistral.find(text.encode()) is None]
    assert len(new) == len(hostile)
    candidate = mistral.extended([NewToken(text.encode(), (), 1) for text in new])
    facts = facts_of(mistral, candidate, [f"one {text} two {text}" for text in new], name="</title><script>alert(3)")
    target = tmp_path / "hostile.html"
    target.write_text(render_page(facts), encoding="utf-8")
    source = target.read_text(encoding="utf-8")
    assert not set("\u202e\u2066\u2028\x07\ufeff") & set(source)
    page = opened(target)
    assert page.title() == "</title><script>alert(3) – vocabkit report"
    assert page.locator("script").count() == 2
    assert page.locator("img, h1 h1, main b b").count() == 0
    shown = page.locator("#tokens-table td:first-child bdi").all_text_contents()
    assert shown[:6] == hostile[:6]
    assert shown[6:] == [
        "<U+202E>cba", "a<U+2066>b", "x<U+0007>y", "p<U+2028>q", "&lt;b&gt;", "<U+FEFF>z", "e\u0301\u0327",
        "<U+2069>",
    ]  # fmt: skip
    static = opened(target, java_script_enabled=False)
    assert static.locator("#tokens-table td:first-child bdi").all_text_contents() == shown


def test_a_text_from_right_to_left_is_shown_so(
    mistral: Tokenizer, registry: Registry, facts_of: Callable[..., Facts], opened: Callable[..., Any], tmp_path: Path
) -> None:
    urdu: Language = registry.language("ur")
    word = "ہے"
    candidate = mistral.extended([NewToken(word.encode(), (), 1)])
    target = tmp_path / "urdu.html"
    facts = facts_of(mistral, candidate, ["یہ ایک کتاب ہے۔ وہ ایک گھر ہے۔"], language=urdu)
    target.write_text(render_page(facts), encoding="utf-8")
    page = opened(target)
    boxes = [box.bounding_box() for box in page.locator(".pair .line").nth(1).locator("span").all()[:5]]
    # The first token is at the right end, and those after it on its left.
    places = [box["x"] for box in boxes]
    assert places == sorted(places, reverse=True)
    assert len(set(places)) == 5


def test_a_mark_is_not_drawn_onto_the_token_before_it(
    mistral: Tokenizer, facts_of: Callable[..., Facts], opened: Callable[..., Any], tmp_path: Path
) -> None:
    target = tmp_path / "marks.html"
    candidate = mistral.extended([NewToken("हिन्दी".encode(), (), 1)])
    target.write_text(render_page(facts_of(mistral, candidate, ["हिन्दी भाषा में लिखा गया एक वाक्य"])), encoding="utf-8")
    pieces = opened(target).locator(".pair .line").first.locator("span").all_text_contents()
    assert "◌ि" in pieces
    assert not [piece for piece in pieces if piece[0] in "िीाे"]


def test_the_faults_of_a_bad_merge_are_seen_at_once(
    registry: Registry, chinese: Language, opened: Callable[..., Any], tmp_path: Path, llama_path: Path
) -> None:
    base = open_tokenizer(llama_path)
    merged = find_recipe("chinese-llama")(())(base, read_vocabulary(data_file("chinese_sp.model")), chinese)
    folder = tmp_path / "merged"
    folder.mkdir()
    merged.tokenizer.save(folder)
    write_vocabulary(merged.added, folder)
    target = tmp_path / "merged.html"
    # There is no certificate in the folder, so one is made.
    command = ["report", str(folder), "--against", str(llama_path), "--lang", "zh", "-o", str(target), "--json"]
    result = CliRunner().invoke(build_cli(registry), command, obj=registry)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["certificate"] == {"ok": False, "failed": ["G4", "G5", "G6", "G7"], "stored": False}
    assert (found["dead_tokens"], found["changed_english_lines"], found["english_lines"]) == (345, 20, 35)
    assert found["curve"] == []
    assert found["bytes"] < MOST_BYTES
    page = opened(target)
    tiles = page.locator(".tiles .bad")
    assert tiles.count() == 3
    assert all(tile.bounding_box()["y"] < 400 for tile in tiles.all())
    assert "345 dead" in tiles.nth(1).text_content()
    assert "20 of 35" in tiles.nth(2).text_content()
    assert page.locator(".chips li").count() == 345
    assert page.locator("#lines h3").first.text_content() == "Changed English lines"
    assert page.locator("#lines .pair .m").count() > 20
    page.select_option("#which", "dead")
    assert page.text_content("#found").startswith("345 tokens")


def test_a_page_of_very_many_tokens_stays_small(mistral: Tokenizer, facts_of: Callable[..., Facts]) -> None:
    letters = [chr(code) for code in range(0x4E00, 0x4E00 + 100)]
    texts = ((a + b) * 16 for a in letters for b in letters)
    many = [NewToken(text.encode(), (), 1) for text in texts if mistral.find(text.encode()) is None]
    facts = facts_of(mistral, mistral.extended(many), ["一"], learned=())
    page = render_page(facts)
    assert len(facts.tokens) == len(many) > 9_900
    assert len(page.encode()) < MOST_BYTES
    listed = int(re.search(r"The first ([\d,]+) are listed here", page)[1].replace(",", ""))
    assert 4_000 < listed < len(many)
