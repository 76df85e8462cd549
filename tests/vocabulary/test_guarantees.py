"""The default path keeps every guarantee on real bases, and the certificate finds what breaks one."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from support import data_file

from vocabkit.errors import VocabkitError
from vocabkit.language import Language
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.bridge import bridge
from vocabkit.vocabulary.extend import extend
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.merge import ranked, union
from vocabkit.vocabulary.recipes import find_recipe
from vocabkit.vocabulary.spans import SpanCutter, TokenRules
from vocabkit.vocabulary.verify import verify
from vocabkit.vocabulary.vocabulary_file import Vocabulary, read_vocabulary, write_vocabulary

BASES = ["mistral_base", "llama_path", "smollm2_folder", "llama3_file", "qwen_file", "deepseek_folder"]
SIZE = 3000


@pytest.fixture(scope="session")
def mistral_base() -> str:
    return "starter"


def learned(base: Tokenizer, chinese: Language, lines: list[str], size: int, **options: object) -> list[NewToken]:
    spans = Counter(SpanCutter(base.preparer(), chinese)("\n".join(lines), True, True))
    return learn(base, chinese, spans, size=size, max_length=8, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("base_name", BASES)
def test_the_default_path_breaks_nothing(
    base_name: str, request: pytest.FixtureRequest, chinese: Language, chinese_lines: list[str], tmp_path: Path
) -> None:
    base = open_tokenizer(request.getfixturevalue(base_name))
    train, held_out = chinese_lines[2000:], chinese_lines[:2000]
    vocabulary = Vocabulary(tokens=tuple(learned(base, chinese, train, SIZE)))
    result = extend(base, vocabulary, chinese, ranked, tmp_path / "out", texts=held_out, arguments={})
    assert result.certificate.failed == []
    assert result.tokenizer.size == base.size + SIZE
    assert result.rows % 64 == 0
    assert result.rows >= result.tokenizer.size
    before, after = (sum(map(len, t.encode(held_out))) for t in (base, result.tokenizer))
    assert after < before
    # The certificate's words are backed by numbers, not by an empty set of probes.
    details = {check.name: check.detail for check in result.certificate.checks}
    assert details["G3"].startswith("1,112,064 Unicode scalars")
    assert details["G6"].startswith(f"0 of {SIZE:,}")
    assert "AutoTokenizer differs on 0" in details["G7"]
    again = verify(open_tokenizer(tmp_path / "out"), base, folder=tmp_path / "out", language=chinese, only=QUICK)
    assert again.ok


def test_new_tokens_hold_the_script_and_nothing_dangerous(
    smollm2_folder: Path, chinese: Language, chinese_lines: list[str]
) -> None:
    dirty = [f"{line}\u202e坏人\u200b好人\x07 <|im_end|>人<|im_end|>" for line in chinese_lines[:3000]]
    base = open_tokenizer(smollm2_folder)
    for token in learned(base, chinese, dirty, 2000):
        if token.is_bridge:
            # The beginning of a Han character, which is all that may be incomplete.
            assert len(token.token) < 4
            continue
        assert any(chinese.owns(c) for c in token.text)
        assert not set("\u202e\u200b\x07<|>") & set(token.text)


def test_without_bridges_every_new_token_is_whole_text(
    smollm2_folder: Path, chinese: Language, chinese_lines: list[str]
) -> None:
    base = open_tokenizer(smollm2_folder)
    assert not any(t.is_bridge for t in learned(base, chinese, chinese_lines[:3000], 1000, bridges=False))


def test_look_alikes_of_special_tokens_are_never_learned(chinese: Language) -> None:
    rules = TokenRules(chinese, " ", frozenset({"【开始】", "<s>"}), 8)
    assert not rules("【开始】".encode())
    assert not rules("开始】".encode())
    assert rules("开头".encode())


def test_numbers_and_long_boilerplate_are_refused(chinese: Language) -> None:
    rules = TokenRules(chinese, "▁", frozenset(), 8)
    assert rules("▁中华人民共和国".encode())
    assert not rules("版权所有翻印必究谢谢".encode())
    assert rules("１".encode())
    assert not rules("１９".encode())
    assert not rules("第１".encode())


def test_a_corpus_that_is_too_small_says_what_it_supports(mistral: Tokenizer, chinese: Language) -> None:
    with pytest.raises(VocabkitError, match=r"supports only 1 of the 50 tokens asked for .* use --size 1 "):
        learn(mistral, chinese, {"中国": 9}, size=50)
    with pytest.raises(VocabkitError, match="the corpus holds no Chinese text"):
        learn(mistral, chinese, {}, size=50)


def test_a_vocabulary_is_read_as_it_was_written(tmp_path: Path) -> None:
    tokens = [
        NewToken("葡".encode(), (), 7),
        NewToken(b"\xe4\xbd", (b"\xe4", b"\xbd"), 5),
        NewToken(" 你好".encode(), (" 你".encode(), "好".encode()), 3),
    ]
    write_vocabulary(tokens, tmp_path)
    assert list(read_vocabulary(tmp_path).tokens) == tokens


def test_a_vocabulary_of_another_base_is_refused(
    mistral: Tokenizer, smollm2_folder: Path, chinese: Language, chinese_lines: list[str]
) -> None:
    tokens = tuple(learned(open_tokenizer(smollm2_folder), chinese, chinese_lines[:2000], 300))
    with pytest.raises(VocabkitError, match="was learned on another base"):
        ranked(mistral, Vocabulary(tokens=tokens), chinese)


def test_a_foreign_vocabulary_is_bridged_and_every_piece_can_be_produced(
    mistral: Tokenizer, chinese: Language, tmp_path: Path
) -> None:
    words = ["人工智能", "越来越", "意大利", "国务院", "俱乐部", "hello", "巴塞罗那足球俱乐部队员们"]
    path = tmp_path / "words.txt"
    path.write_text("\n".join(words), encoding="utf-8")
    merged = bridge(mistral, read_vocabulary(path), chinese)
    added = {token.text: mistral.size + i for i, token in enumerate(merged.added)}
    for word in words[:5]:
        if word in added:
            assert merged.tokenizer.encode_bare([word.encode()]) == [[added[word]]]
    assert {"越来越", "意大利"} <= set(added)
    assert "hello" not in added
    assert "巴塞罗那足球俱乐部队员们" in merged.dropped
    assert set(merged.bridges) == set(added) - set(words)


# --- the certificate finds what is broken -------------------------------------------------------------------


# G3 goes over all of Unicode, and is tested where it can fail.
QUICK = ("G1", "G2", "G4", "G5", "G6", "G7", "G8", "G9", "G12")


def failing(candidate: Tokenizer, base: Tokenizer, chinese: Language) -> dict[str, str]:
    certificate = verify(candidate, base, language=chinese, only=QUICK)
    return {check.name: check.detail for check in certificate.checks if not check.ok}


def test_a_piece_that_cannot_be_made_fails_g6(mistral: Tokenizer, chinese: Language) -> None:
    orphan = mistral.extended([NewToken("魑魅魍魉".encode(), (), 1)])
    assert failing(orphan, mistral, chinese) == {"G6": "1 of 1 new tokens can never be produced"}


def test_a_moved_id_fails_g1(smollm2_folder: Path, chinese: Language) -> None:
    base, moved = open_tokenizer(smollm2_folder), open_tokenizer(smollm2_folder)
    vocab = moved.json["model"]["vocab"] = dict(moved.json["model"]["vocab"])
    vocab["Ġthe"], vocab["Ġof"] = vocab["Ġof"], vocab["Ġthe"]
    assert {"G1", "G5"} <= set(failing(moved, base, chinese))


def test_a_changed_template_or_special_token_fails_g2(smollm2_folder: Path, chinese: Language) -> None:
    base, changed = open_tokenizer(smollm2_folder), open_tokenizer(smollm2_folder)
    changed.sidecars.config["chat_template"] = "{{ messages }}"
    assert set(failing(changed, base, chinese)) == {"G2"}
    assert "G2" in failing(base.with_special_tokens(["<|new|>"]), base, chinese)


def test_a_lost_merge_fails_g4_and_g5(smollm2_folder: Path, chinese: Language) -> None:
    base, poorer = open_tokenizer(smollm2_folder), open_tokenizer(smollm2_folder)
    merges = poorer.json["model"]["merges"]
    poorer.json["model"]["merges"] = merges[:100] + merges[110:]
    assert {"G4", "G5"} <= set(failing(poorer, base, chinese))


def test_text_that_is_lost_fails_g3(mistral: Tokenizer, chinese: Language) -> None:
    lossy = mistral.with_special_tokens([])
    lossy.proto.normalizer_spec.remove_extra_whitespaces = True  # type: ignore[attr-defined]
    (check,) = verify(lossy, mistral, language=chinese, only=("G3",)).checks
    assert not check.ok


def test_a_damaged_file_fails_g9(mistral: Tokenizer, chinese: Language, tmp_path: Path) -> None:
    vocabulary = Vocabulary(tokens=(NewToken("人工".encode(), ("人".encode(), "工".encode()), 2),))
    extend(mistral, vocabulary, chinese, ranked, tmp_path / "out", arguments={})
    config = tmp_path / "out" / "tokenizer_config.json"
    config.write_text(config.read_text() + " ")
    certificate = verify(open_tokenizer(tmp_path / "out"), mistral, folder=tmp_path / "out", language=chinese)
    assert certificate.failed == ["G9"]
    assert certificate.checks[8].items == ("tokenizer_config.json is not the file that was written",)


def test_the_same_inputs_give_the_same_bytes(
    mistral: Tokenizer, chinese: Language, chinese_lines: list[str], tmp_path: Path
) -> None:
    vocabulary = Vocabulary(tokens=tuple(learned(mistral, chinese, chinese_lines[:1000], 200)))
    for name in ("a", "b"):
        extend(mistral, vocabulary, chinese, ranked, tmp_path / name, arguments={"size": 200})
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "vocabkit.json" in names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_two_families_cannot_be_compared(mistral: Tokenizer, smollm2_folder: Path) -> None:
    with pytest.raises(VocabkitError, match="compare an extended tokenizer with the base"):
        verify(mistral, open_tokenizer(smollm2_folder))


def test_new_tokens_may_take_the_padding_of_a_base(smollm2_folder: Path, chinese: Language, tmp_path: Path) -> None:
    """Qwen's case: 151,669 tokens in 151,936 rows must not shrink, and the padding is used first."""
    folder = tmp_path / "base"
    folder.mkdir()
    for path in smollm2_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 49_408}}))
    base = open_tokenizer(folder)
    assert (base.size, base.padded_size) == (49_152, 49_408)
    first, second = base.encode_bare(["中".encode()])[0][:1], base.encode_bare(["国".encode()])[0][:1]
    parts = tuple(base.token_bytes(ids[0]) or b"" for ids in (first, second))
    token = NewToken(b"".join(parts), parts, 2)
    result = extend(base, Vocabulary(tokens=(token,)), chinese, ranked, tmp_path / "out", arguments={})
    assert result.tokenizer.size == 49_153
    assert result.rows == 49_408


# --- the published merge, and what it does --------------------------------------------------------------------


def published_merge(chinese: Language, *specials: str) -> tuple[Tokenizer, Tokenizer]:
    base = open_tokenizer(data_file("llama-tokenizer.model"))
    vocabulary = read_vocabulary(data_file("chinese_sp.model"))
    return base, find_recipe("chinese-llama")(specials)(base, vocabulary, chinese).tokenizer


@pytest.mark.parametrize(
    ("specials", "sha256"),
    [
        ((), "e2676d4ca29ca1750f6ff203328d73b189321dc5776ceede037cbd36541d70c0"),
        (("[PAD]",), "2d967e855b1213a439df6c8ce2791f869c84b4f3b6cfacf22b86440b8192a2f8"),
    ],
)
def test_the_recipe_reproduces_the_published_file(
    specials: tuple[str, ...], sha256: str, chinese: Language, tmp_path: Path
) -> None:
    _, merged = published_merge(chinese, *specials)
    merged.save(tmp_path)
    assert hashlib.sha256((tmp_path / "tokenizer.model").read_bytes()).hexdigest() == sha256
    assert merged.size == 49_953 + len(specials)


def test_the_sentence_of_the_paper_goes_from_35_tokens_to_16(chinese: Language) -> None:
    base, merged = published_merge(chinese)
    sentence = "人工智能是计算机科学、心理学、哲学等学科融合的交叉学科。"
    assert (len(base.encode([sentence])[0]), len(merged.encode([sentence])[0])) == (35, 16)


def test_verify_finds_the_345_dead_pieces_of_the_published_merge(chinese: Language) -> None:
    base, merged = published_merge(chinese)
    checks = {check.name: check for check in verify(merged, base, language=chinese).checks}
    assert len(checks["G6"].items) == 345
    assert {"意大利", "国务院", "越来越", "俱乐部"} <= set(checks["G6"].items)
    assert not checks["G4"].ok
    assert not checks["G5"].ok
    assert any("1998" in line for line in checks["G5"].items)
    assert not checks["G7"].ok
    assert checks["G1"].ok


def test_verify_finds_the_657_dead_pieces_of_chinese_llama_2() -> None:
    base = open_tokenizer(data_file("llama-tokenizer.model"))
    candidate = open_tokenizer(data_file("chinese_llama2.model"))
    checks = {check.name: check for check in verify(candidate, base).checks}
    assert len(checks["G6"].items) == 657
    assert "<pad>" in checks["G6"].items
    assert not checks["G7"].ok
    assert "sentencepiece differs on" in checks["G7"].detail


def test_union_needs_a_sentencepiece_base(smollm2_folder: Path, chinese: Language) -> None:
    with pytest.raises(VocabkitError, match="needs a SentencePiece BPE base"):
        union(open_tokenizer(smollm2_folder), Vocabulary(pieces=("中国",)), chinese)


def test_languages_without_a_script_of_their_own_still_verify(mistral: Tokenizer, chinese: Language) -> None:
    nothing = replace(chinese, evaluation_text="", scripts=((0xE000, 0xE000),))
    assert verify(mistral, mistral, language=nothing).ok
