"""What is measured of a base and of what was made of it: lines, scripts, sizes."""

from __future__ import annotations

import pytest

from vocabkit.measure.before_after import lengths_by_script, lengths_by_text, script_of
from vocabkit.measure.paired import loss_over_lines
from vocabkit.measure.side_by_side import LONGEST, changed_lines, extremes, side_by_side
from vocabkit.measure.size_curve import prefixes_of, size_curve, sizes
from vocabkit.tokenizer.base import NewToken, Tokenizer

WORDS = ("人工", "智能", "人工智能", "改变")
LINES = (
    "人工智能正在改变许多行业的工作方式，也改变生活。",
    "今天的天气比昨天好一些，我们去公园散步。",
    "An English line of twenty letters.",
)


@pytest.fixture(scope="module")
def tokens() -> list[NewToken]:
    return [NewToken(word.encode(), (), 1) for word in WORDS]


@pytest.fixture(scope="module")
def candidate(mistral: Tokenizer, tokens: list[NewToken]) -> Tokenizer:
    return mistral.extended(tokens)


@pytest.mark.parametrize(
    ("character", "script"),
    [
        ("中", "Han"), ("〇", "Han"), ("Ａ", "Latin"), ("ア", "Katakana"), ("ｱ", "Katakana"), ("ཀ", "Tibetan"),
        ("ි", "Sinhala"), ("ہ", "Arabic"), ("3", "digits"), ("३", "digits"), ("。", "signs and spaces"),
        ("▁", "signs and spaces"), ("\u0301", ""), ("ኣ", "Ethiopic"), ("я", "Cyrillic"),
    ],
)  # fmt: skip
def test_scripts_are_told_by_names(character: str, script: str) -> None:
    assert script_of(character) == script


def test_scripts_share_out_every_token(mistral: Tokenizer, candidate: Tokenizer) -> None:
    rows = {row.name: row for row in lengths_by_script(mistral, candidate, LINES)}
    (whole,) = lengths_by_text(mistral, candidate, [("all", LINES)])
    assert sum(row.before for row in rows.values()) == pytest.approx(whole.before)
    assert sum(row.after for row in rows.values()) == pytest.approx(whole.after)
    assert rows["Latin"].before == rows["Latin"].after
    assert rows["Han"].after < rows["Han"].before
    assert rows["Han"].characters == sum("一" <= c <= "鿿" for line in LINES for c in line)


def test_the_line_that_gains_most_is_named_and_no_line_twice(mistral: Tokenizer, candidate: Tokenizer) -> None:
    worst, best = extremes(mistral, candidate, [*LINES, *LINES], 5)
    assert best[0].text == LINES[0]
    assert worst[0].ratio == 1.0
    assert sorted(pair.text for pair in (*worst, *best)) == sorted(LINES)
    new = b"".join(piece.token for piece in best[0].after if piece.is_new).decode()
    assert new == "人工智能改变改变"
    assert b"".join(piece.token for piece in best[0].before) == b"".join(piece.token for piece in best[0].after)


def test_moved_tokens_are_those_without_a_counterpart(mistral: Tokenizer, candidate: Tokenizer) -> None:
    (pair,) = side_by_side(mistral, candidate, ["天气改变"])
    moved = b"".join(piece.token for piece in pair.before if piece.is_moved).decode()
    assert moved == "改变"
    assert [piece.token.decode() for piece in pair.after if piece.is_moved] == ["改变"]


def test_a_change_at_the_end_of_a_long_line_is_shown(mistral: Tokenizer, candidate: Tokenizer) -> None:
    lines = ["a line " * 100 + "改变", "改变 " + "a line " * 100, "nothing"]
    found = changed_lines(mistral, candidate, lines)
    assert [pair.is_changed for pair in found] == [True, True]
    assert found[0].text == lines[0]
    assert len(found[1].text) <= LONGEST + 1


def test_a_curve_counts_each_text_at_each_size(mistral: Tokenizer, tokens: list[NewToken]) -> None:
    texts = [LINES[:1], [*LINES[2:], LINES[0]], []]
    points = size_curve(prefixes_of(mistral, tokens), [0, 2, 4], texts)
    assert [point.size for point in points] == [0, 2, 4]
    for point in points:
        tokenizer = mistral.extended(tokens[: point.size])
        counts = [sum(map(len, tokenizer.encode(lines))) for lines in texts]
        assert [text.tokens for text in point.texts] == counts
        per_character = [text.per_character.value for text in point.texts[:2]]
        assert per_character == [n / sum(map(len, lines)) for n, lines in zip(counts[:2], texts[:2], strict=True)]
        # Three lines say nothing about others, and no line says nothing at all.
        assert {text.ratio.low for text in point.texts} == {None}
        assert point.texts[2].ratio.value == 1.0
        assert len(point.seen) == 0
    assert [text.ratio.value for text in points[0].texts] == [1.0, 1.0, 1.0]
    assert points[2].texts[0].ratio.value < points[2].texts[1].ratio.value < 1


def test_intervals_of_a_curve_are_those_of_pairs(mistral: Tokenizer, tokens: list[NewToken]) -> None:
    # The base itself is 1 on any lines; a text whose lines gain alike is sure, one whose lines differ is not.
    alike, mixed = [LINES[0]] * 20, [LINES[0], LINES[1]] * 10
    first, last = size_curve(prefixes_of(mistral, tokens), [0, 4], [alike, mixed])
    assert [(text.ratio.low, text.ratio.high) for text in first.texts] == [(1.0, 1.0)] * 2
    sure, unsure = (text.ratio for text in last.texts)
    assert sure.low == pytest.approx(sure.value) == pytest.approx(sure.high)
    lengths = [[len(ids) for ids in t.encode(mixed)] for t in (mistral, mistral.extended(tokens))]
    loss = loss_over_lines(*lengths)
    low, high = unsure.low or 0.0, unsure.high or 0.0
    assert (low, high) == pytest.approx((1 + (loss.low or 0.0), 1 + (loss.high or 0.0)))
    assert 0 < low < unsure.value - 0.02 < unsure.value + 0.02 < high


def test_sizes_double_up_to_the_whole() -> None:
    assert sizes(12000) == [0, 500, 1000, 2000, 4000, 8000, 12000]
    assert sizes(500) == [0, 500]
    assert sizes(3) == [0, 3]
    assert sizes(0) == [0]
