"""A base whose pre-tokenizer was extended: what is learned on it, what is proven, and what breaks the proof."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vocabkit.errors import VocabkitError
from vocabkit.infer.modelfile import modelfile
from vocabkit.language import Language
from vocabkit.manifest import inherited, read_manifest
from vocabkit.plugins import Registry
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.tokenizer.byte_level_bpe import ByteLevelBpe
from vocabkit.tokenizer.widen import EXTEND, with_wide_words
from vocabkit.vocabulary.extend import Extended, extend
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.merge import ranked
from vocabkit.vocabulary.spans import SpanCutter
from vocabkit.vocabulary.verify import verify
from vocabkit.vocabulary.vocabulary_file import Vocabulary, read_vocabulary, write_vocabulary

# Written for this test: short sentences, so that words and phrases repeat.
SENTENCES = (
    "यह किताब बहुत अच्छी है।", "यह कहानी बहुत पुरानी है।", "वह किताब मेज़ पर रखी है।", "बच्चे बाहर खेल रहे हैं।",
    "बच्चे किताब पढ़ रहे हैं।", "क्या तुम यह किताब पढ़ोगे?", "मेरे गाँव की नदी बहुत गहरी है।", "क्\u200dया यह कहानी अच्छी है?",
)  # fmt: skip
PROVEN = ("G1", "G2", "G6", "G9")


@pytest.fixture(scope="module")
def hindi(registry: Registry) -> Language:
    return registry.language("hi")


@pytest.fixture(scope="module")
def base(smollm2_folder: Path) -> Tokenizer:
    return open_tokenizer(smollm2_folder)


def learned(start: Tokenizer, language: Language, size: int) -> tuple[NewToken, ...]:
    spans = Counter(SpanCutter(start.preparer(), language)("\n".join(SENTENCES * 3), True, True))
    return tuple(learn(start, language, spans, size=size))


@pytest.fixture(scope="module")
def made(base: Tokenizer, hindi: Language, tmp_path_factory: pytest.TempPathFactory) -> Extended:
    tokens = learned(with_wide_words(base, hindi), hindi, 80)
    vocabulary = Vocabulary(tokens=tokens, pretokenizer=EXTEND)
    folder = tmp_path_factory.mktemp("extended") / "out"
    return extend(base, vocabulary, hindi, ranked, folder, texts=SENTENCES, arguments={}, pretokenizer=EXTEND)


def changed(tokenizer: Tokenizer, **json: Any) -> ByteLevelBpe:
    return ByteLevelBpe(tokenizer.source, {**tokenizer.json, **json}, tokenizer.sidecars)


def test_every_guarantee_holds_and_says_against_what(made: Extended, base: Tokenizer, hindi: Language) -> None:
    assert made.certificate.failed == []
    details = {check.name: check.detail for check in made.certificate.checks}
    for name in ("G2", "G4"):
        assert details[name].endswith("the base's pre-tokenizer extended")
    assert "lines of all other characters" in details["G5"]
    assert "AutoTokenizer differs on 0" in details["G7"]
    # Whole words are tokens, which no vocabulary of the base as it is could have.
    assert made.tokenizer.encode([" किताब"]) == [[made.tokenizer.find(" किताब".encode())]]
    kept = base.extended(learned(base, hindi, 30))
    before, after = (sum(map(len, t.encode(SENTENCES))) for t in (kept, made.tokenizer))
    assert after < 0.6 * before


def test_the_manifest_alone_says_what_to_verify(made: Extended, base: Tokenizer, hindi: Language) -> None:
    manifest = read_manifest(made.output) or {}
    assert manifest["pretokenizer"] == EXTEND
    assert inherited(made.output)["pretokenizer"] == EXTEND
    again = open_tokenizer(made.output)
    checked = verify(
        again, base, folder=made.output, language=hindi, only=PROVEN, pretokenizer=manifest["pretokenizer"]
    )
    assert checked.ok
    unsaid = verify(again, base, folder=made.output, language=hindi, only=PROVEN)
    assert "G2" in unsaid.failed
    with pytest.raises(VocabkitError, match="has an extended pre-tokenizer; name its language with --lang"):
        verify(again, base, pretokenizer=EXTEND)


def test_anything_else_than_the_one_alternative_is_found(
    made: Extended, base: Tokenizer, hindi: Language, registry: Registry
) -> None:
    def failed(candidate: Tokenizer) -> list[str]:
        return verify(candidate, base, language=hindi, only=("G2",), pretokenizer=EXTEND).failed

    assert failed(made.tokenizer) == []
    other = with_wide_words(base, registry.language("bn")).json["pre_tokenizer"]
    assert failed(changed(made.tokenizer, pre_tokenizer=other)) == ["G2"]
    assert failed(changed(made.tokenizer, pre_tokenizer=base.json["pre_tokenizer"])) == ["G2"]
    # One more alternative, which cuts English too: that shows in the text as well.
    text = json.dumps(made.tokenizer.json["pre_tokenizer"])
    english = changed(made.tokenizer, pre_tokenizer=json.loads(text.replace("|'s", "|e|'s", 1)))
    assert verify(english, base, language=hindi, only=("G2", "G5"), pretokenizer=EXTEND).failed == ["G2", "G5"]


def test_g4_compares_with_the_widened_base(made: Extended, base: Tokenizer, hindi: Language) -> None:
    start = with_wide_words(base, hindi)
    assert verify(start, base, language=hindi, texts=SENTENCES, only=("G4",), pretokenizer=EXTEND).ok
    # A merge that goes before the base's own is no coarsening of the widened base.
    model = made.tokenizer.json["model"]
    first = {**model, "merges": model["merges"][::-1]}
    broken = verify(
        changed(made.tokenizer, model=first), base, language=hindi, texts=SENTENCES, only=("G4",), pretokenizer=EXTEND
    )
    assert broken.failed == ["G4"]


def test_a_vocabulary_says_what_it_was_learned_on(
    made: Extended, base: Tokenizer, hindi: Language, tmp_path: Path
) -> None:
    read = read_vocabulary(made.output)
    assert read.pretokenizer == EXTEND
    assert len(read) == 80
    assert read.first(7).pretokenizer == EXTEND
    assert json.loads((made.output / "vocabulary.jsonl").read_text(encoding="utf-8").splitlines()[0]) == {
        "pretokenizer": "extend"
    }
    with pytest.raises(
        VocabkitError, match="was learned with --pretokenizer extend and does not fit --pretokenizer keep"
    ):
        extend(base, read, hindi, ranked, tmp_path / "out", arguments={})
    write_vocabulary(learned(base, hindi, 20), tmp_path)
    plain = read_vocabulary(tmp_path)
    assert plain.pretokenizer == "keep"
    with pytest.raises(
        VocabkitError, match="was learned with --pretokenizer keep and does not fit --pretokenizer extend"
    ):
        extend(base, plain, hindi, ranked, tmp_path / "out", arguments={}, pretokenizer=EXTEND)
    assert not (tmp_path / "out").exists()
    # Pieces of somebody else's are merged by their text, and fit both.
    Vocabulary(pieces=("किताब",)).check_pretokenizer(EXTEND)
    (tmp_path / "vocabulary.jsonl").write_text('["pretokenizer"]\n', encoding="utf-8")
    with pytest.raises(VocabkitError, match="line 1 is no learned token"):
        read_vocabulary(tmp_path)


def test_without_the_header_a_wrong_base_shows_in_the_certificate(
    made: Extended, base: Tokenizer, hindi: Language, tmp_path: Path
) -> None:
    unmarked = dataclasses.replace(read_vocabulary(made.output), pretokenizer="keep")
    merged = ranked(base, unmarked, hindi)
    assert verify(merged.tokenizer, base, language=hindi, only=("G6",)).failed == ["G6"]


def test_ollama_is_not_given_what_it_would_cut_otherwise(made: Extended, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in made.output.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        VocabkitError, match="was extended, and Ollama has only its own; extend with --pretokenizer keep"
    ):
        modelfile(folder, tmp_path / "Modelfile")
