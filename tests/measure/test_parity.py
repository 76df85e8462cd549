"""Premiums of languages over English, on real tokenizers and a real parallel text where it is here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import sentencepiece
from support import data_file

from vocabkit.errors import BadTextError, VocabkitError
from vocabkit.language import Language
from vocabkit.measure.parity import Parity, name_of, other_lengths, parity, read_parallel
from vocabkit.plugins import Registry
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.vocabulary.extend import extend
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.spans import SpanCutter
from vocabkit.vocabulary.vocabulary_file import Vocabulary

TEXTS = {
    "en": ["Everyone may read this house's rules before entering.", "The door is open until nine in the evening."],
    "zh": ["进门之前，每个人都可以阅读这所房子的规则。", "大门一直开到晚上九点。"],
    "bo": ["ཁང་པ་འདིའི་སྒྲིག་གཞི་ཚང་མས་ཀློག་ཆོག", "སྒོ་ནི་དགོང་མོའི་ཆུ་ཚོད་དགུ་བར་ཕྱེ་ཡོད།"],
    "sw": ["Kila mtu anaweza kusoma kanuni za nyumba hii.", "Mlango uko wazi hadi saa tatu usiku."],
}


def write(folder: Path, texts: dict[str, list[str]]) -> Path:
    for code, lines in texts.items():
        (folder / f"{code}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def measured(tokenizer: Tokenizer, texts: dict[str, list[str]], reference: str = "en") -> Parity:
    (row,) = parity([("base", tokenizer, None)], texts, reference=reference)
    return row


def test_a_premium_is_tokens_in_units_of_the_reference(mistral: Tokenizer) -> None:
    row = measured(mistral, TEXTS)
    for encode in mistral.engines.values():
        counts = {code: sum(map(len, encode(lines))) for code, lines in TEXTS.items()}
        assert row.reference_tokens == counts.pop("en")
        assert row.tokens == counts
        assert row.premium == {code: pytest.approx(n / row.reference_tokens, abs=1e-4) for code, n in counts.items()}
    assert row.worst == "bo"
    assert row.mean == pytest.approx(sum(row.premium.values()) / 3, abs=1e-3)
    assert row.to_json()["premium"] == row.premium


def test_another_reference_turns_the_ratio_over(mistral: Tokenizer) -> None:
    forth, back = measured(mistral, TEXTS), measured(mistral, TEXTS, reference="bo")
    assert forth.premium["bo"] * back.premium["en"] == pytest.approx(1, abs=1e-3)
    assert "bo" not in back.premium


def test_twice_the_text_is_twice_the_premium(mistral: Tokenizer) -> None:
    twice = measured(mistral, {**TEXTS, "zh": TEXTS["zh"] * 2})
    assert twice.premium["zh"] == pytest.approx(2 * measured(mistral, TEXTS).premium["zh"], abs=1e-3)


def test_extension_lowers_the_premium_of_its_language_alone(
    mistral: Tokenizer, chinese: Language, registry: Registry, chinese_lines: list[str], tmp_path: Path
) -> None:
    spans = Counter(SpanCutter(mistral.preparer(), chinese)("\n".join(chinese_lines[:2000]), True, True))
    vocabulary = Vocabulary(tokens=tuple(learn(mistral, chinese, spans, size=300)))
    out = tmp_path / "out"
    extend(mistral, vocabulary, chinese, registry.merger("ranked"), out, texts=TEXTS["zh"], arguments={})
    tokenizers = [("base", mistral, None), ("out", open_tokenizer(out), mistral.size)]
    before, after = parity(tokenizers, TEXTS, reference="en")
    assert after.premium["zh"] < before.premium["zh"]
    assert (after.reference_tokens, after.premium["bo"]) == (before.reference_tokens, before.premium["bo"])


def test_the_declaration_costs_lao_ten_times_as_much(mistral: Tokenizer) -> None:
    texts = read_parallel(data_file("udhr"), "en")
    assert len(texts) == 31
    assert other_lengths(texts, "en")["am"] == len(texts["am"]) == 81
    row = measured(mistral, texts)
    assert row.worst == "lo"
    assert row.premium["lo"] > 10
    assert min(row.premium.values()) > 1


def test_files_are_read_without_marks_blank_lines_and_strangers(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_bytes("\ufeffone\r\n\r\ntwo\u2028three\r\n".encode())
    (tmp_path / "zh-Hant.txt").write_text("一\n  \n二", encoding="utf-8")
    (tmp_path / "._zh.txt").write_bytes(b"\x00\xff")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "folder.txt").mkdir()
    texts = read_parallel(tmp_path, "en")
    # U+2028 is a character of the text, and ends no paragraph.
    assert texts == {"en": ["one", "two\u2028three"], "zh-Hant": ["一", "二"]}
    assert other_lengths(texts, "en") == {}
    assert other_lengths({**texts, "bo": ["ཀ"]}, "en") == {"bo": 1}


def test_folders_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabkitError, match=r"holds no CODE\.txt; put a file for each language there, en\.txt too"):
        read_parallel(tmp_path, "en")
    write(tmp_path, {"zh": TEXTS["zh"]})
    with pytest.raises(VocabkitError, match=r"holds no en\.txt; add it, or name another with --reference \(zh\)"):
        read_parallel(tmp_path, "en")
    with pytest.raises(VocabkitError, match=r"holds only zh\.txt; add the same text in other languages"):
        read_parallel(tmp_path, "zh")
    (tmp_path / "en.txt").write_text(" \n\n")
    with pytest.raises(VocabkitError, match=r"en\.txt holds no text; fill it, or remove it"):
        read_parallel(tmp_path, "en")
    (tmp_path / "en.txt").write_bytes("bien sûr".encode("latin-1"))
    with pytest.raises(BadTextError, match=r"en\.txt is not UTF-8 \(byte 0xfb at 6\); save it as UTF-8"):
        read_parallel(tmp_path, "en")


def test_a_reference_without_tokens_is_refused(tmp_path: Path) -> None:
    # This normaliser turns a zero-width space into a space, and a line of spaces into nothing.
    text = tmp_path / "corpus.txt"
    text.write_text("\n".join(line for lines in TEXTS.values() for line in lines), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "own"), vocab_size=130, normalization_rule_name="nmt_nfkc",
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    tokenizer = open_tokenizer(tmp_path / "own.model")
    with pytest.raises(VocabkitError, match=r"base makes no token of en\.txt; use another tokenizer or --reference"):
        measured(tokenizer, {"en": ["\u200b"], "zh": TEXTS["zh"]})


@pytest.mark.parametrize(
    ("code", "name"),
    [("bo", "Tibetan"), ("zh-Hant", "Chinese (Hant)"), ("sw", "Swahili"), ("en", "English"), ("dz", "dz")],
)
def test_languages_have_english_names_where_they_are_known(registry: Registry, code: str, name: str) -> None:
    assert name_of(code, registry.languages) == name
