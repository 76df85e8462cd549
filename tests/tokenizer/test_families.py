"""The tokenizer families on real bases: opening, converting, growing, writing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vocabkit.errors import TokenizerError
from vocabkit.plugins import Registry
from vocabkit.tokenizer import hf_json, open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.tokenizer.byte_alphabet import bytes_of, from_readable, readable, spelling_of
from vocabkit.tokenizer.byte_level_bpe import PlainPreparer
from vocabkit.tokenizer.open import starter_path
from vocabkit.tokenizer.sentencepiece_bpe import scores_below
from vocabkit.vocabulary import probes
from vocabkit.vocabulary.spans import SpanCutter

LINES = [*probes.english_lines(), *probes.code_lines()[:500], *probes.mixed_lines(500)]


def test_every_byte_has_a_spelling_and_back() -> None:
    everything = bytes(range(256))
    assert bytes_of(spelling_of(everything)) == everything
    assert len(set(spelling_of(everything))) == 256
    with pytest.raises(ValueError, match="byte-level alphabet"):
        bytes_of("<｜end｜>")


@pytest.mark.parametrize("token", [b"\xe4\xbd\xa0", b"\xe4\xbd", b" \xe4", "你好".encode(), b"a"])
def test_tokens_are_readable_and_back(token: bytes) -> None:
    assert from_readable(readable(token)) == token


def test_a_sentencepiece_file_becomes_a_tokenizer_json_that_agrees(mistral: Tokenizer) -> None:
    sentencepiece, tokenizers = (encode(LINES) for encode in mistral.engines.values())
    different = [line for line, a, b in zip(LINES, sentencepiece, tokenizers, strict=True) if a != b]
    # `<s>` in a text is a special token for tokenizers and plain text for sentencepiece, in every base.
    assert all("<s>" in line or "</s>" in line or "<unk>" in line for line in different)


def test_new_scores_are_distinct_and_below_llamas_sentinels() -> None:
    # LLaMA's whitespace runs score -1e9, where neighbouring float32 are 64 apart.
    scores = scores_below([0.0, -31740.0, -1e9], 50_000)
    assert len({np.float32(score) for score in scores}) == 50_000
    assert max(scores) < -1e9
    assert scores == sorted(scores, reverse=True)
    assert scores_below([0.0, -5.0], 3) == [-6.0, -7.0, -8.0]


@pytest.mark.parametrize("name", ["tokenizer.model", "qwen.tiktoken"])
def test_a_folder_is_the_source_whatever_file_it_holds(name: str, tmp_path: Path, request: Any) -> None:
    """Weights beside a .model or ranks were left out of `extend` when the file was the source."""
    if name == "tokenizer.model":
        pytest.importorskip("mistral_common")
    path = starter_path() if name == "tokenizer.model" else request.getfixturevalue("qwen_file")
    shutil.copy(path, tmp_path / name)
    opened = open_tokenizer(tmp_path)
    assert opened.source == tmp_path
    assert opened.id_table == open_tokenizer(path).id_table


@pytest.mark.parametrize("name", ["llama3_file", "qwen_file"])
def test_a_tiktoken_file_encodes_as_tiktoken_does(name: str, request: pytest.FixtureRequest) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    from tiktoken.load import load_tiktoken_bpe

    from vocabkit.tokenizer import tiktoken_file

    path = request.getfixturevalue(name)
    ranks = load_tiktoken_bpe(str(path))
    pattern = tiktoken_file.KNOWN[len(ranks)][0]
    encoding = tiktoken.Encoding("test", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    lines = [line for line in LINES if hf_is_normal(line)]
    assert open_tokenizer(path).encode(lines) == [encoding.encode_ordinary(line) for line in lines]


@pytest.mark.parametrize("name", ["smollm2_folder", "qwen_file", "deepseek_folder", "llama3_file"])
def test_cutting_at_hard_boundaries_changes_no_segmentation(
    name: str, request: pytest.FixtureRequest, chinese_lines: list[str], registry: Registry
) -> None:
    path = request.getfixturevalue(name)
    spans = SpanCutter(PlainPreparer(), registry.language("zh"))("\n".join(chinese_lines[:3000]), True, True)
    spans += ["", "我", "。", "的。”他", "的，的，，的", " 我们", "〇的々", "\U00020000的"]
    cut, whole = open_tokenizer(path), open_tokenizer(path)
    whole._letters_stay_together = False  # type: ignore[attr-defined]
    a, b = cut.units(spans), whole.units(spans)
    assert a.ids.tolist() == b.ids.tolist()
    assert a.span.tolist() == b.span.tolist()
    assert [s.steps for s in a.spellings] == [s.steps for s in b.spellings]


def hf_is_normal(line: str) -> bool:
    import unicodedata

    return unicodedata.is_normalized("NFC", line)


def token(text: str, *parts: str) -> NewToken:
    return NewToken(text.encode(), tuple(part.encode() for part in parts), 1)


def test_new_ids_follow_the_highest_old_one_and_added_tokens_stay(deepseek_folder: Path, tmp_path: Path) -> None:
    base = open_tokenizer(deepseek_folder)
    assert base.size == 129_280  # 128,000 in the model, the rest are added tokens beyond it
    extended = base.extended([token("中国人民的", "中国", "人民的")])
    extended.save(tmp_path)
    again = open_tokenizer(tmp_path)
    assert again.special_tokens == base.special_tokens
    assert again.id_table["<｜User｜>"] == base.id_table["<｜User｜>"]
    assert again.find("中国人民的".encode()) == 129_280
    assert again.hf.token_to_id("<｜User｜>") == base.id_table["<｜User｜>"]  # type: ignore[attr-defined]


def test_merges_written_as_strings_become_pairs(deepseek_folder: Path) -> None:
    base = open_tokenizer(deepseek_folder)
    assert isinstance(base.json["model"]["merges"][0], str)
    grown = base.extended([token("中国人民的", "中国", "人民的")]).json["model"]["merges"]
    assert all(isinstance(pair, list) and len(pair) == 2 for pair in grown)
    assert [" ".join(pair) for pair in grown[: len(base.json["model"]["merges"])]] == base.json["model"]["merges"]


def test_writing_and_opening_again_changes_nothing(smollm2_folder: Path, tmp_path: Path) -> None:
    base = open_tokenizer(smollm2_folder)
    base.save(tmp_path)
    again = open_tokenizer(tmp_path)
    assert again.json == base.json
    assert again.encode(LINES) == base.encode(LINES)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert (
        config["chat_template"] == json.loads((smollm2_folder / "tokenizer_config.json").read_text())["chat_template"]
    )


def test_the_chat_template_is_copied_byte_for_byte(smollm2_folder: Path, tmp_path: Path) -> None:
    base_folder = tmp_path / "base"
    base_folder.mkdir()
    for path in smollm2_folder.iterdir():
        (base_folder / path.name).write_bytes(path.read_bytes())
    template = b"{% for m in messages %}\r\n{{ m.content }}\t{% endfor %}\n\n"
    (base_folder / "chat_template.jinja").write_bytes(template)
    (tmp_path / "out").mkdir()
    open_tokenizer(base_folder).save(tmp_path / "out")
    assert (tmp_path / "out" / "chat_template.jinja").read_bytes() == template


def test_a_json_only_sentencepiece_base_grows_without_a_model_file(mistral: Tokenizer, tmp_path: Path) -> None:
    """What a Llama-2 tokenizer.json on its own is: byte fallback, no .model."""
    (tmp_path / "tokenizer.json").write_text(json.dumps(mistral.json, ensure_ascii=False), encoding="utf-8")
    base = open_tokenizer(tmp_path)
    assert base.family == "sentencepiece_bpe"
    assert list(base.engines) == ["tokenizers"]
    spans = ["人工智能", "▁今天天气", "魑魅魍魉"]
    rebuilt, original = base.units(spans), mistral.units(spans)
    assert rebuilt.ids.tolist() == original.ids.tolist()
    out = tmp_path / "out"
    out.mkdir()
    base.extended([token("人工", "人", "工")]).save(out)
    assert not (out / "tokenizer.model").exists()
    assert open_tokenizer(out).encode(["人工"]) != base.encode(["人工"])


def test_special_tokens_are_appended_and_never_come_from_parts(mistral: Tokenizer) -> None:
    extended = mistral.with_special_tokens(["<|im_start|>"])
    assert extended.special_tokens["<|im_start|>"] == mistral.size
    assert extended.engines["tokenizers"](["a<|im_start|>b"])[0].count(mistral.size) == 1
    with pytest.raises(TokenizerError, match="is a token of the base already"):
        mistral.with_special_tokens(["<s>"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"{", "not valid JSON"),
        (b'{"a": 1}', "it has no model"),
        (b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}', "refuses"),
        (b"\x0a\x05garbage that is no protobuf", "is not a SentencePiece model"),
        (b"aGVsbG8= 0\nd29ybGQ= 1\n", "its split pattern is not known"),
        (b"aGVsbG8= 0\nnot base64\n", "line 2"),
    ],
)
def test_a_damaged_file_is_one_line_and_never_a_panic(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=message) as caught:
        open_tokenizer(path)
    assert "\n" not in str(caught.value)


def test_truncated_models_are_refused_wherever_they_are_cut(mistral: Tokenizer, tmp_path: Path) -> None:
    data = Path(mistral.source).read_bytes()
    for cut in (1, 100, 4096, len(data) // 2, len(data) - 1):
        path = tmp_path / "tokenizer.model"
        path.write_bytes(data[:cut])
        with pytest.raises(TokenizerError):
            open_tokenizer(path)


def test_an_unknown_family_is_named(tmp_path: Path) -> None:
    data: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "a": 1},
        },
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data))
    with pytest.raises(TokenizerError, match=r"unknown family \(WordPiece\)"):
        open_tokenizer(path)


def test_the_written_json_is_what_tokenizers_reads(smollm2_folder: Path, tmp_path: Path) -> None:
    data = hf_json.read(smollm2_folder / "tokenizer.json")
    hf_json.write(data, tmp_path / "tokenizer.json")
    assert hf_json.read(tmp_path / "tokenizer.json") == data
