"""Where learning may look, and which tokens may come of it."""

from __future__ import annotations

import time

import pytest

from vocabkit import Language
from vocabkit.tokenizer.byte_level_bpe import PlainPreparer
from vocabkit.vocabulary.spans import SpanCutter, TokenRules


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("我们(好)吃。(a", ["我们", "好", "吃。("]),
        ("a (不过)，b", ["不过)，"]),
        ('f("你好")', ["你好"]),
        ("他说…… 好“吧”", ["他说……", " 好“吧”"]),
        ("see (…) and “quotes”", []),
    ],
)
def test_ascii_marks_belong_to_a_span_only_beside_own_marks(chinese: Language, text: str, spans: list[str]) -> None:
    assert SpanCutter(PlainPreparer(), chinese)(text, True, True) == spans


@pytest.mark.parametrize("mark", ["…", "(", "。(", "…(", "—“("])
def test_long_runs_of_marks_are_cut_in_linear_time(chinese: Language, mark: str) -> None:
    cut = SpanCutter(PlainPreparer(), chinese)
    cut("。", True, True)
    start = time.perf_counter()
    cut(mark * 50_000 + "a", True, True)
    assert time.perf_counter() - start < 2  # quadratic time would be half a minute and more


def test_ascii_marks_never_join_letters(chinese: Language) -> None:
    rules = TokenRules(chinese, " ", frozenset(), 8)
    assert rules("。(".encode())
    assert rules(" ）,".encode())
    assert not rules("(好".encode())
    assert not rules('，"好'.encode())
    assert not rules(b"()")


def test_a_bridge_begins_an_own_character_with_or_without_the_mark(chinese: Language) -> None:
    rules = TokenRules(chinese, " ", frozenset(), 8)
    assert rules(b"\xe6\x88")
    assert rules(b" \xe6\x88")
    assert not rules(b"\xef\xbd")  # half-width katakana begin so too
    assert not rules("好".encode() + b"\xe6\x88")
    assert not rules(b"  \xe6\x88")
    assert not TokenRules(chinese, " ", frozenset(), 8, bridges=False)(b" \xe6\x88")
