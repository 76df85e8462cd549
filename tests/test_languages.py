"""Every bundled language keeps its contract on real text, and can be taught to real bases."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from support import data_file

from vocabkit import check_language
from vocabkit.plugins import Registry
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_level_bpe import PlainPreparer
from vocabkit.vocabulary.extend import extend
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.reachable import check_reachable
from vocabkit.vocabulary.spans import SpanCutter
from vocabkit.vocabulary.vocabulary_file import Vocabulary

LATIN = ("ha", "id", "sw", "vi", "yo")
CODES = (
    *LATIN, "am", "ar", "bn", "bo", "gu", "hi", "ja", "kk", "km", "ko", "lo", "ml", "mn", "mn-Mong", "mr", "my", "ne",
    "si", "ta", "te", "th", "ug", "ur", "zh",
)  # fmt: skip
# One of each kind of script: syllables by tsheg, stacked letters, vowel signs, right to left, a syllabary, blocks.
SCRIPTS = ("bo", "km", "ta", "ar", "am", "ko")


def declaration(code: str) -> list[str]:
    """Return the paragraphs of the Universal Declaration of Human Rights in a language."""
    text = data_file(f"udhr/{code}.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip()]


def test_the_bundled_languages_are_all_there(registry: Registry) -> None:
    assert sorted(registry.languages) == sorted(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_language_keeps_the_contract(registry: Registry, code: str) -> None:
    language = registry.language(code)
    check_language(language)
    assert language.native_name
    assert any(map(language.owns, language.native_name))
    assert code not in language.neighbours


@pytest.mark.parametrize("code", [code for code in CODES if code != "mn-Mong"])
def test_a_language_keeps_the_contract_on_real_text(registry: Registry, code: str) -> None:
    language, lines = registry.language(code), declaration(code)
    check_language(replace(language, samples=tuple(lines)))
    letters = [c for line in lines for c in line if unicodedata.category(c)[0] in "LM"]
    # A few joiners' neighbours aside, the scripts are what the text is written in.
    assert sum(map(language.owns, letters)) > 0.99 * len(letters)


@pytest.mark.parametrize("code", [code for code in CODES if code not in LATIN])
def test_no_language_claims_what_others_write(registry: Registry, code: str) -> None:
    shared = "az AZ 09 é ß .,;:!?()\"'“”‘’…—·\u200b\u200c\u200d\ufeff\ufe0f€"
    assert not [c for c in shared if registry.language(code).owns(c)]


@pytest.mark.parametrize(
    ("code", "text", "pieces"),
    [
        ("bo", "བོད་ཡིག། ", ["བོད་", "ཡིག", "། "]),
        ("km", "ខ្មែរ", ["ខ្មែ", "រ"]),
        ("th", "ภาษาไทย", ["ภา", "ษา", "ไท", "ย"]),
        ("lo", "ພາສາລາວ", ["ພາ", "ສາ", "ລາ", "ວ"]),
        ("my", "မြန်မာနိုင်ငံ", ["မြန်", "မာ", "နိုင်", "ငံ"]),
        ("my", "မန္တလေး", ["မန္တ", "လေး"]),
        ("ar", "سلام، دنيا", ["سلام", "،", " ", "دنيا"]),
        ("si", "ශ්\u200dරී ලංකා", ["ශ්\u200dරී", " ", "ලංකා"]),
    ],
)
def test_segments_are_the_syllables_or_words_of_a_reader(
    registry: Registry, code: str, text: str, pieces: list[str]
) -> None:
    segment = registry.language(code).segment
    assert segment is not None
    assert segment(text) == pieces


def test_presentation_forms_become_letters(registry: Registry) -> None:
    normalize = registry.language("ar").normalize
    assert normalize is not None
    assert normalize("\ufefb x\u00b2") == "\u0644\u0627 x\u00b2"


def test_a_joiner_between_letters_belongs_to_the_span(registry: Registry) -> None:
    cut = SpanCutter(PlainPreparer(), registry.language("si"))
    assert cut("ශ්\u200dරී a\u200db\u200d ක\u200d", True, True) == ["ශ්\u200dරී", " ක"]


@pytest.mark.parametrize("code", SCRIPTS)
@pytest.mark.parametrize("family", ["sentencepiece", "byte-level"])
def test_every_kind_of_script_can_be_taught(
    registry: Registry, mistral: Tokenizer, request: pytest.FixtureRequest, code: str, family: str
) -> None:
    base = mistral if family == "sentencepiece" else open_tokenizer(request.getfixturevalue("smollm2_folder"))
    language = registry.language(code)
    reached = check_reachable(base, language, declaration(code), registry.merger(language.merger))
    assert reached.certificate.ok, reached.certificate.failed
    assert reached.new_tokens > 100
    assert reached.after < 0.5 * reached.before


@pytest.mark.parametrize("family", ["sentencepiece", "byte-level"])
def test_tibetan_passes_the_whole_certificate(
    registry: Registry, mistral: Tokenizer, request: pytest.FixtureRequest, tmp_path: Path, family: str
) -> None:
    base = mistral if family == "sentencepiece" else open_tokenizer(request.getfixturevalue("smollm2_folder"))
    language, lines = registry.language("bo"), declaration("bo")
    cut = SpanCutter(base.preparer(), language)
    spans: dict[str, int] = {}
    for span in (span for line in lines for span in cut(line, True, True)):
        spans[span] = spans.get(span, 0) + 1
    vocabulary = Vocabulary(tokens=tuple(learn(base, language, spans, size=150)))
    extended = extend(
        base, vocabulary, language, registry.merger("ranked"), tmp_path / "out", texts=lines, arguments={}
    )
    assert extended.certificate.ok, extended.certificate.failed


@pytest.mark.parametrize("code", LATIN)
@pytest.mark.parametrize("family", ["sentencepiece", "byte-level"])
def test_latin_scripts_are_taught_within_their_drift(
    registry: Registry, mistral: Tokenizer, request: pytest.FixtureRequest, code: str, family: str
) -> None:
    base = mistral if family == "sentencepiece" else open_tokenizer(request.getfixturevalue("smollm2_folder"))
    language = registry.language(code)
    assert language.max_drift == 0.01
    reached = check_reachable(base, language, declaration(code), registry.merger(language.merger))
    assert reached.certificate.ok, reached.certificate.failed
    assert reached.new_tokens > 100
    assert reached.after < 0.75 * reached.before
