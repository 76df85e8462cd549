"""A Unigram base grows without moving an id, and old choices stay what they were."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from conftest import data_file
from wordfreq import top_n_list

from vocabkit.errors import TokenizerError
from vocabkit.plugins import load_plugins
from vocabkit.tokenizer import hf_json, model_proto, open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.tokenizer.unigram import Unigram, new_scores
from vocabkit.vocabulary import probes
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.spans import SpanCutter

SIZE = 2000
BASES = ["chinese_sp", "english", "english_bytes"]


def train(folder: Path, *, byte_fallback: bool) -> Path:
    """Train a small English Unigram model, as T5 (plain) or as Llama's successors (bytes) have it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(probes.english_lines()), model_writer=model, model_type="unigram", vocab_size=900,
        character_coverage=1.0, byte_fallback=byte_fallback, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    path = folder / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="module")
def chinese_sp() -> Unigram:
    return opened(data_file("chinese_sp.model"))


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Unigram:
    return opened(train(tmp_path_factory.mktemp("plain"), byte_fallback=False))


@pytest.fixture(scope="module")
def english_bytes(tmp_path_factory: pytest.TempPathFactory) -> Unigram:
    return opened(train(tmp_path_factory.mktemp("bytes"), byte_fallback=True))


def opened(path: Path) -> Unigram:
    base = open_tokenizer(path)
    assert isinstance(base, Unigram)
    return base


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, chinese_lines: list[str]) -> tuple[Unigram, Unigram, list[NewToken]]:
    """A base, the base with SIZE learned tokens, and the tokens."""
    base: Unigram = request.getfixturevalue(request.param)
    tokens = learned(base, chinese_lines[2500:])
    return base, base.extended(tokens), tokens


def learned(base: Tokenizer, lines: Sequence[str], size: int = SIZE) -> list[NewToken]:
    language = load_plugins({}).language("zh")
    spans = Counter(SpanCutter(base.preparer(), language)("\n".join(lines), True, True))
    return learn(base, language, spans, size=size)


def token(text: str, *parts: str) -> NewToken:
    return NewToken(text.encode(), tuple(part.encode() for part in parts), 1)


def ends(tokenizer: Unigram, ids: Sequence[int]) -> set[int] | None:
    """Return where the tokens end, in bytes; None when one is unknown."""
    tokens = [tokenizer.token_bytes(token_id) for token_id in ids]
    return None if None in tokens else set(np.cumsum([len(t or b"") for t in tokens]).tolist())


def base_score(base: Unigram, tokens: Sequence[bytes]) -> float:
    """Return what the base's best way to cut within each of `tokens` scores."""
    ids = base.encode_bare(tokens)
    return sum(base.proto.pieces[token_id].score for row in ids for token_id in row)


def engines_differ(tokenizer: Unigram, lines: Sequence[str]) -> list[str]:
    sp, hf = (encode(lines) for encode in tokenizer.engines.values())
    return [line for line, a, b in zip(lines, sp, hf, strict=True) if a != b]


every_base = pytest.mark.parametrize("pair", BASES, indirect=True)


@every_base
def test_old_ids_are_kept_and_new_ones_follow(pair: tuple[Unigram, Unigram, list[NewToken]]) -> None:
    base, new, tokens = pair
    assert {name: new.id_table[name] for name in base.id_table} == dict(base.id_table)
    assert new.special_tokens == base.special_tokens
    assert [new.find(t.token) for t in tokens] == list(range(base.size, base.size + SIZE))
    assert new.proto.trainer_spec.vocab_size == len(new.proto.pieces) == new.size == new.hf.get_vocab_size()
    old_pieces = [(p.piece, p.score, p.type) for p in base.proto.pieces]
    assert [(p.piece, p.score, p.type) for p in new.proto.pieces][: base.size] == old_pieces


@every_base
def test_new_scores_are_distinct_in_float32(pair: tuple[Unigram, Unigram, list[NewToken]]) -> None:
    base, new, _ = pair
    scores = [np.float32(p.score) for p in new.proto.pieces]
    added = scores[base.size :]
    assert len(set(added)) == SIZE
    assert not set(added) & set(scores[: base.size])
    assert [np.float32(score) for _, score in new.json["model"]["vocab"]] == scores


@every_base
def test_every_new_piece_is_reached(pair: tuple[Unigram, Unigram, list[NewToken]]) -> None:
    base, new, tokens = pair
    assert new.encode_bare([t.token for t in tokens]) == [[base.size + i] for i in range(SIZE)]


@every_base
def test_english_and_code_stay_as_they_were(pair: tuple[Unigram, Unigram, list[NewToken]]) -> None:
    base, new, _ = pair
    lines = [*probes.english_lines(), *probes.code_lines()]
    for name, encode in base.engines.items():
        assert new.engines[name](lines) == encode(lines)


@every_base
def test_sentencepiece_and_tokenizers_agree(
    pair: tuple[Unigram, Unigram, list[NewToken]], chinese_lines: list[str]
) -> None:
    base, new, _ = pair
    english = list(probes.english_lines())
    mixed = [a + b for a, b in zip(chinese_lines, english, strict=False)]
    lines = [*chinese_lines[:2500], *english, *mixed]
    accused = set(engines_differ(new, lines)) - set(engines_differ(base, lines))
    # 哈哈|哈 and 哈|哈哈 are the same sum, which only rounding decides, in any Unigram model.
    assert [line for line in accused if not has_a_run(line)] == []
    assert len(accused) <= 5


def has_a_run(line: str) -> bool:
    return any(a == b == c for a, b, c in zip(line, line[1:], line[2:], strict=False))


@every_base
def test_new_segmentations_only_join_old_tokens(
    pair: tuple[Unigram, Unigram, list[NewToken]], chinese_lines: list[str]
) -> None:
    base, new, _ = pair
    lines = chinese_lines[:2500]
    before, after = base.encode(lines), new.encode(lines)
    compared = []
    for line, a, b in zip(lines, before, after, strict=True):
        old_ends, new_ends = ends(base, a), ends(new, b)
        if old_ends is None or new_ends is None:
            continue
        compared.append((len(a), len(b)))
        assert len(b) <= len(a), line
        if not new_ends <= old_ends:
            # An exact tie of the base, as 。|。。 and 。。|。 are: both ways are its best.
            old = sum(base.proto.pieces[i].score for i in a)
            again = base_score(base, [new.token_bytes(i) or b"" for i in b])
            assert again == pytest.approx(old, abs=1e-4), line
    # A base without Chinese and without bytes turns every Chinese line into unknown ones: nothing to compare.
    has_chinese = base.proto.trainer_spec.byte_fallback or base.find("的".encode()) is not None
    if has_chinese:
        assert len(compared) > 2000
        assert sum(n for _, n in compared) < 0.95 * sum(n for n, _ in compared)


@every_base
def test_round_trip(pair: tuple[Unigram, Unigram, list[NewToken]], chinese_lines: list[str]) -> None:
    base, new, _ = pair
    lines = [*chinese_lines[:500], *probes.english_lines(), *probes.mixed_lines(300)]
    kept = [line for line, back in zip(lines, base.decode(base.encode(lines)), strict=True) if line == back]
    assert len(kept) > 30
    assert new.decode(new.encode(kept)) == kept


@every_base
def test_saving_and_opening_again_changes_nothing(
    pair: tuple[Unigram, Unigram, list[NewToken]], chinese_lines: list[str], tmp_path: Path
) -> None:
    _, new, _ = pair
    new.save(tmp_path)
    again = open_tokenizer(tmp_path)
    assert isinstance(again, Unigram)
    assert again.json == new.json
    assert again.proto == new.proto
    assert list(again.engines) == ["sentencepiece", "tokenizers"]
    for name, encode in new.engines.items():
        assert again.engines[name](chinese_lines[:300]) == encode(chinese_lines[:300])


def test_an_unknown_character_is_used_once_it_has_a_piece(english: Unigram, english_bytes: Unigram) -> None:
    for base in (english, english_bytes):
        units = base.units(["你好a"])
        assert [s.token.decode() for s in units.spellings] == sorted("你好")
        new = base.extended([token("好"), token("你"), token("你好", "你", "好")])
        for encode in new.engines.values():
            assert encode(["a你好好"])[0][-2:] == [base.size + 2, base.size]
        floor = min(p.score for p in base.proto.pieces if p.type == model_proto.NORMAL)
        assert new.proto.pieces[base.size].score == pytest.approx(floor, abs=1e-3)


def with_added_tokens(base: Unigram, names: Sequence[str], *, in_vocabulary: bool) -> dict[str, object]:
    entries = [hf_json.added_token(base.size + i, name, special=True) for i, name in enumerate(names)]
    vocab = base.json["model"]["vocab"] + ([[name, 0.0] for name in names] if in_vocabulary else [])
    model = {**base.json["model"], "vocab": vocab}
    return {**base.json, "added_tokens": [*base.json["added_tokens"], *entries], "model": model}


@pytest.mark.parametrize("in_vocabulary", [True, False])
@pytest.mark.parametrize("with_model", [True, False])
def test_added_tokens_beyond_the_pieces_keep_their_ids(
    english: Unigram, tmp_path: Path, with_model: bool, in_vocabulary: bool
) -> None:
    """T5's tokenizer.json has <extra_id_0> and others; its spiece.model ends before them."""
    names = ["<extra_id_1>", "<extra_id_0>"]
    folder, out = tmp_path / "base", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    data = with_added_tokens(english, names, in_vocabulary=in_vocabulary)
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    if with_model:
        (folder / "tokenizer.model").write_bytes(english.proto.SerializeToString())
    base = opened(folder)
    assert base.size == english.size + 2
    new = base.extended([token("th的", "th", "的")]).with_special_tokens(["<new>"])
    new.save(out)
    again = opened(out)
    assert (out / "tokenizer.model").exists() == with_model
    for i, name in enumerate([*names, "th的", "<new>"]):
        assert again.hf.token_to_id(name) == english.size + i
        assert again.id_table[name] == english.size + i
    line = "the <extra_id_0> cat<extra_id_1>"
    assert again.engines["tokenizers"]([line]) == base.engines["tokenizers"]([line])
    for encode in again.engines.values():
        assert encode(["th的"])[0][-1] == english.size + 2


def test_a_model_file_that_numbers_its_pieces_otherwise_is_left_aside(english: Unigram, tmp_path: Path) -> None:
    """XLM-R's sentencepiece.bpe.model is one id behind its tokenizer.json."""
    vocab = english.json["model"]["vocab"]
    added = [hf_json.added_token(t["id"] + 1, t["content"], special=True) for t in english.json["added_tokens"]]
    added.insert(0, hf_json.added_token(0, "<pad>", special=True))
    model = {
        **english.json["model"],
        "vocab": [["<pad>", 0.0], *vocab],
        "unk_id": english.json["model"]["unk_id"] + 1,
    }
    shifted = {**english.json, "added_tokens": added, "model": model, "post_processor": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(shifted), encoding="utf-8")
    (tmp_path / "sentencepiece.bpe.model").write_bytes(english.proto.SerializeToString())
    base = opened(tmp_path)
    assert list(base.engines) == ["tokenizers"]
    line = "the house and the garden"
    assert base.encode([line]) == [[i + 1 for i in english.encode([line])[0]]]
    spans = ["▁the▁house", "你▁cat"]
    shifted_ids = np.where(english.units(spans).ids >= 0, english.units(spans).ids + 1, -1)
    assert base.units(spans).ids.tolist() == shifted_ids.tolist()
    assert base.preparer()(" A  b", True, False) == english.preparer()(" A  b", True, False)


def test_scores_stay_above_the_old_minimum_when_the_unknown_score_matters() -> None:
    """With 丙 in 乙丙 but no piece of its own, lowering the minimum would change how 丙 is cut."""
    old = {"甲": -3.0, "乙": -4.0, "乙丙": -5.0}
    tokens = [token("甲乙", "甲", "乙"), token("乙甲", "乙", "甲"), token("甲乙甲", "甲乙", "甲")]
    scores = new_scores(old, tokens)
    assert min(scores) > -5.0
    assert len({*scores, *old.values()}) == 6
    assert scores[2] > scores[0] + old["甲"]
    assert new_scores(old | {"丙": -4.5}, tokens)[0] == pytest.approx(-7.0, abs=0.1)


def test_any_set_of_pieces_is_reachable(english: Unigram) -> None:
    """Not only learned ones: random words and their parts, in any order, some in characters the base lacks."""
    words = [word for word in top_n_list("zh", 3000) if len(word) > 1]
    generator = random.Random(7)
    texts = {word[:n] for word in generator.sample(words, 800) for n in range(2, len(word) + 1)}
    texts |= {"aaaa", "aaaaaa", "aaaaaaaa"}
    order = sorted(texts)
    generator.shuffle(order)
    order = [text for text in order if english.find(text.encode()) is None]
    new = english.extended([token(text) for text in order])
    assert new.encode_bare([text.encode() for text in order]) == [[english.size + i] for i in range(len(order))]
    hf = hf_json.build({**new.json, "normalizer": None}, new.source)
    assert hf_json.encode(hf, order) == [[english.size + i] for i in range(len(order))]


def test_a_tokenizer_json_without_unknown_token_is_refused(english: Unigram, tmp_path: Path) -> None:
    data = {**english.json, "model": {**english.json["model"], "unk_id": None}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(TokenizerError, match="without unk_id"):
        open_tokenizer(tmp_path)
