"""A widened pre-tokenizer keeps words whole, and text without the script exactly as it was."""

from __future__ import annotations

import random
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

from vocabkit.errors import TokenizerError
from vocabkit.language import Language
from vocabkit.plugins import Registry
from vocabkit.tokenizer import hf_json, open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_level_bpe import ByteLevelBpe
from vocabkit.tokenizer.folder import Sidecars
from vocabkit.tokenizer.pre_tokenizers import PRE_TOKENIZERS
from vocabkit.tokenizer.tiktoken_file import LLAMA3_PATTERN, QWEN_PATTERN
from vocabkit.tokenizer.whole_words import whole_words
from vocabkit.tokenizer.widen import GPT2_PATTERN, alternatives, is_widened, widened, with_wide_words
from vocabkit.vocabulary import probes

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = BYTES | {"use_regex": True}
STEPS = {entry.name: entry.steps for entry in PRE_TOKENIZERS}
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)


def sequence(*steps: Any) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def split(pattern: str, behavior: str = "Isolated", *, invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


SHAPES: dict[str, dict[str, Any]] = {
    "gpt-2": GPT2,
    "smollm": sequence({"type": "Digits", "individual_digits": True}, GPT2),
    "falcon": sequence(
        {"type": "Punctuation", "behavior": "Contiguous"}, GPT2, {"type": "Digits", "individual_digits": False}
    ),
    "llama-3": sequence(split(LLAMA3_PATTERN), BYTES),
    "qwen": sequence(split(QWEN_PATTERN), BYTES),
    "cl100k": sequence(split(CL100K, "Removed", invert=True), BYTES),
    "gpt-4o": sequence(split(STEPS["gpt-4o"][0]), BYTES),
    "deepseek-v3": sequence(*map(split, STEPS["deepseek-v3"]), BYTES),
    "nested": sequence(sequence(split(LLAMA3_PATTERN)), BYTES),
}
# Those whose letters are `\p{L}` alone; the others keep marks, and cut at joiners or at the tsheg.
CUTTING = ["gpt-2", "smollm", "llama-3", "qwen", "cl100k", "nested"]
# Written for this test.
HINDI = "यह किताब मेज़ पर रखी है, और बच्चे बाहर खेल रहे हैं। क्या तुम मेरे साथ चलोगे?"
SINHALA = "ශ්‍රී ලංකාව ඉන්දියානු සාගරයේ දූපතකි."
TIBETAN = "ང་ཚོ་བོད་སྐད་སློབ་ཀྱི་ཡོད། ཁྱེད་རང་གི་མཚན་ལ་ག་རེ་ཟེར།"


def base_of(shape: dict[str, Any]) -> ByteLevelBpe:
    """A tokenizer of 256 bytes that cuts as `shape` says."""
    from vocabkit.tokenizer.byte_alphabet import BYTE_TO_CHARACTER

    model = {"type": "BPE", "vocab": {BYTE_TO_CHARACTER[byte]: byte for byte in range(256)}, "merges": []}
    json = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": shape, "model": model}
    return ByteLevelBpe(Path("made.json"), {**json, "post_processor": None, "decoder": BYTES}, Sidecars())


@pytest.fixture(scope="module")
def pairs(registry: Registry) -> list[tuple[Language, ByteLevelBpe, ByteLevelBpe]]:
    codes = ("hi", "si", "bo", "km", "my", "th", "ar")
    languages = [registry.language(code) for code in codes]
    bases = [base_of(shape) for shape in SHAPES.values()]
    return [(one, base, with_wide_words(base, one)) for one in languages for base in bases]


@pytest.fixture(scope="module")
def smollm2(smollm2_folder: Path) -> Tokenizer:
    return open_tokenizer(smollm2_folder)


def without(text: str, language: Language) -> str:
    return "".join(c for c in text if not language.owns(c))


def pieces(pre_tokenizer: PreTokenizer, text: str) -> list[tuple[int, int]]:
    return [span for _, span in pre_tokenizer.pre_tokenize_str(text)]


def test_the_pattern_of_byte_level_is_written_out_to_the_letter() -> None:
    built_in = ByteLevel(add_prefix_space=False, use_regex=True)
    bare = ByteLevel(add_prefix_space=False, use_regex=False)
    written = Sequence([Split(Regex(GPT2_PATTERN), "isolated"), bare])
    lines = [*probes.character_lines(lambda c: False), *probes.english_lines(), *probes.code_lines()]
    lines += [*probes.mixed_lines(), *contracted()]
    for line in lines:
        assert written.pre_tokenize_str(line) == built_in.pre_tokenize_str(line)


def contracted() -> list[str]:
    """Random strings of what the pattern tells apart: quotes, letters, marks, digits, white space."""
    generator = random.Random(3)
    alphabet = [
        "'s",
        "'LL",
        "'ve",
        "'",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u00a0",
        "a",
        "É",
        "e\u0301",
        "7",
        "½",
        "-",
        "।",
        "क",
        "ि",
    ]
    return ["".join(generator.choices(alphabet, k=generator.randint(1, 30))) for _ in range(5000)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
@example(text="it's   100% \n\n ok\u0301 \u200dx\u0940")
def test_any_text_without_the_script_is_cut_as_before(
    pairs: list[tuple[Language, ByteLevelBpe, ByteLevelBpe]], text: str
) -> None:
    for language, base, wider in pairs:
        line = without(text, language)
        assert wider.cuts(line) == base.cuts(line)


def test_every_character_beside_others_is_cut_as_before(
    pairs: list[tuple[Language, ByteLevelBpe, ByteLevelBpe]],
) -> None:
    fixed = [*probes.english_lines(), *probes.mixed_lines(500), *contracted()[:1000]]
    # Each shape once, each language at least once.
    for number, (language, base, wider) in enumerate(pairs[:: len(SHAPES) + 1]):
        characters = list(probes.character_lines(language.owns))[number::3]
        lines = [*characters, *(without(line, language) for line in fixed)]
        assert [wider.cuts(line) for line in lines] == [base.cuts(line) for line in lines]


@pytest.mark.parametrize("name", ["smollm2_folder", "qwen_file", "deepseek_folder"])
def test_real_bases_give_the_same_ids_without_the_script(
    name: str, registry: Registry, request: pytest.FixtureRequest
) -> None:
    base = open_tokenizer(request.getfixturevalue(name))
    language = registry.language("si")
    lines = [*probes.english_lines(), *probes.code_lines()]
    lines += [without(line, language) for line in (*probes.mixed_lines(), *contracted())]
    assert with_wide_words(base, language).encode(lines) == base.encode(lines)


@pytest.mark.parametrize(("code", "text"), [("hi", HINDI), ("si", SINHALA), ("bo", TIBETAN)], ids=["hi", "si", "bo"])
@pytest.mark.parametrize("shape", CUTTING)
def test_words_stay_in_one_piece(shape: str, code: str, text: str, registry: Registry) -> None:
    language = registry.language(code)
    base = base_of(SHAPES[shape])
    before = whole_words(base, language, [text])
    assert before
    assert before.share < 0.3
    after = whole_words(widened(base, language, [text]), language, [text])
    assert after
    assert after.whole == after.words == before.words


@pytest.mark.parametrize("shape", ["gpt-4o", "deepseek-v3"])
def test_a_base_that_keeps_marks_still_cuts_at_joiners(shape: str, registry: Registry) -> None:
    sinhala, hindi = registry.language("si"), registry.language("hi")
    base = base_of(SHAPES[shape])
    with pytest.raises(TokenizerError, match=r"cuts none of \d+ Hindi words, so there is nothing to extend"):
        widened(base, hindi, [HINDI])
    wider = widened(base, sinhala, [SINHALA])
    assert SINHALA.index("\u200d") in base.cuts(SINHALA)
    assert not wider.cuts(SINHALA) & set(range(1, SINHALA.index(" ")))


def test_what_stands_before_a_word_is_what_the_base_lets_stand_there(registry: Registry) -> None:
    hindi = registry.language("hi")

    def cut(shape: str, text: str) -> list[str]:
        places = sorted(with_wide_words(base_of(SHAPES[shape]), hindi).cuts(text))
        return [text[a:b] for a, b in pairwise(places)]

    assert cut("gpt-2", "a (किताब) 12की  है।") == ["a", " (", "किताब", ")", " 12", "की", " ", " है", "।"]
    assert cut("llama-3", "a (किताब) 12की  है।") == ["a", " (", "किताब", ")", " ", "12", "की", " ", " है", "।"]
    assert cut("llama-3", "x(किताब\n\tहै") == ["x", "(किताब", "\n", "\tहै"]
    # A letter before a word is the base's own pattern's, and a joiner at the end belongs to the word.
    assert cut("gpt-2", "क्\u200d क्\u200dष \u200dक") == ["क्\u200d", " क्\u200dष", " \u200dक"]


def test_widening_for_a_second_language_keeps_the_first(registry: Registry) -> None:
    hindi, sinhala = registry.language("hi"), registry.language("si")
    base = base_of(SHAPES["smollm"])
    both = widened(widened(base, hindi, [HINDI]), sinhala, [SINHALA])
    for language, text in ((hindi, HINDI), (sinhala, SINHALA)):
        found = whole_words(both, language, [text])
        assert found
        assert found.share == 1
        with pytest.raises(TokenizerError, match="nothing to extend"):
            widened(both, language, [text])


def test_a_widened_base_is_known_by_its_json(smollm2: Tokenizer, registry: Registry) -> None:
    for code in ("hi", "bo", "am"):
        assert is_widened(with_wide_words(smollm2, registry.language(code)).json)
    assert not is_widened(smollm2.json)
    assert not any(is_widened({"pre_tokenizer": shape}) for shape in SHAPES.values())
    assert not is_widened({"pre_tokenizer": None})


def test_ids_tokens_and_merges_are_the_bases(smollm2: Tokenizer, registry: Registry) -> None:
    wider = with_wide_words(smollm2, registry.language("hi"))
    assert wider.id_table == smollm2.id_table
    assert {key for key in wider.json if wider.json[key] != smollm2.json[key]} == {"pre_tokenizer"}
    assert hf_json.uses_byte_level(wider.json)


def test_a_pattern_is_taken_apart_at_its_own_bars() -> None:
    assert alternatives(r"'(?:a|b)| ?\p{L}+|[|(]x|\|\[|c") == [r"'(?:a|b)", r" ?\p{L}+", "[|(]x", r"\|\[", "c"]
    assert alternatives(r"[!\[\\\]|]+[A-Z]|b") == [r"[!\[\\\]|]+[A-Z]", "b"]
    assert "|".join(alternatives(LLAMA3_PATTERN)) == LLAMA3_PATTERN


def test_no_base_script_makes_an_empty_match(registry: Registry) -> None:
    for language in registry.languages.values():
        wider = with_wide_words(base_of(SHAPES["gpt-2"]), language)
        assert wider.cuts("\u200d a \u200c1") == base_of(SHAPES["gpt-2"]).cuts("\u200d a \u200c1")
        letter = next(
            c for first, _ in language.scripts for c in map(chr, range(first, first + 200)) if is_own(language, c)
        )
        assert wider.cuts(f" {letter}{letter}") == {0, 3}


def is_own(language: Language, character: str) -> bool:
    return language.owns(character) and unicodedata.category(character)[0] == "L"


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (GPT2 | {"add_prefix_space": True}, "is of a shape that cannot be extended"),
        (sequence({"type": "Whitespace"}, BYTES), "is of a shape that cannot be extended"),
        (sequence(split(LLAMA3_PATTERN, "MergedWithNext"), BYTES), "is of a shape that cannot be extended"),
        (sequence(split(f"(?:{LLAMA3_PATTERN})"), BYTES), "is of a shape that cannot be extended"),
        (sequence(split(r"\p{M}"), split(LLAMA3_PATTERN), BYTES), "would keep no more Hindi words in one piece"),
    ],
)
def test_other_shapes_are_refused_in_one_line(shape: dict[str, Any], message: str, registry: Registry) -> None:
    with pytest.raises(TokenizerError, match=message) as caught:
        widened(base_of(shape), registry.language("hi"), [HINDI])
    assert "leave out --pretokenizer extend" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_families_and_languages_that_are_not_cut_are_refused(
    mistral: Tokenizer, smollm2: Tokenizer, registry: Registry
) -> None:
    with pytest.raises(TokenizerError, match="is sentencepiece_bpe, which cuts no words by a pattern"):
        widened(mistral, registry.language("hi"))
    assert whole_words(mistral, registry.language("hi"), [HINDI]) is None
    with pytest.raises(TokenizerError, match=r"cuts none of .* Amharic words, so there is nothing to extend"):
        widened(smollm2, registry.language("am"))


def test_words_are_counted_as_the_language_cuts_them(registry: Registry) -> None:
    base = base_of(SHAPES["gpt-2"])
    found = whole_words(base, registry.language("hi"), ["नमन की ok 12 घर।", "अब"])
    assert found
    # "की" alone is cut; one character, other scripts and numbers are no words of Hindi.
    assert (found.words, found.whole) == (4, 3)
    assert found.share == 0.75
    plain = Language("xx", "Plain", ((0x0900, 0x0963),))
    assert whole_words(base, plain, ["नमन की ok 12 घर।", "अब"]) == found
    assert whole_words(base, plain, []).share == 1  # type: ignore[union-attr]


def test_a_normaliser_comes_first(registry: Registry) -> None:
    base = base_of(SHAPES["qwen"])
    composed = ByteLevelBpe(base.source, {**base.json, "normalizer": {"type": "NFC"}}, base.sidecars)
    assert composed.normalized("e\u0301") == "é"
    assert base.normalized("e\u0301") == "e\u0301"
    assert whole_words(composed, registry.language("hi"), ["क\u093c लम"])
