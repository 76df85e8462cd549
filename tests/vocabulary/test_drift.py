"""Where English shares a script, little of it may change, and what changes most is left out first."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from runs import vocabkit
from support import data_file

from vocabkit import VocabkitError
from vocabkit.cli.learning import LearningOptions, read_protected
from vocabkit.plugins import Registry
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary import probes
from vocabkit.vocabulary.drift import BaseText, learn_within, spelled
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.spans import SpanCutter

# Enough words for whatever English is needed, as often as a list of words says.
WORDS = {"the": 600, "of": 300, "women": 9, "panda": 4, "banyan": 3, "orang": 2, "sudan": 2, "batik": 1, "meng": 1}
OPTIONS = LearningOptions((), None, 2, True, None, (), False, "text", "skip", 1, 1 << 30, "keep")


@pytest.fixture(params=["sentencepiece", "byte-level"])
def base(request: pytest.FixtureRequest, mistral: Tokenizer) -> Tokenizer:
    if request.param == "sentencepiece":
        return mistral
    return open_tokenizer(request.getfixturevalue("smollm2_folder"))


def drift(base: Tokenizer, tokens: list[NewToken], lines: tuple[str, ...]) -> float:
    pairs = zip(base.encode(lines), base.extended(tokens).encode(lines), strict=True)
    return sum(old != new for old, new in pairs) / len(lines)


def test_drift_stays_within_what_is_allowed(registry: Registry, base: Tokenizer) -> None:
    pytest.importorskip("wordfreq")
    import wordfreq

    language = registry.language("id")
    lists = {code: wordfreq.get_frequency_dict(code, "small") for code in ("id", "en")}
    english = {word: round(share * 1e9) for word, share in lists["en"].items()}
    cut = SpanCutter(base.preparer(), language)
    spans: Counter[str] = Counter()
    for word, share in lists["id"].items():
        for span in cut(f" {word}", False, False):
            spans[span] += round(share * 1e9)
    calls: list[frozenset[bytes]] = []

    def run(refused: frozenset[bytes]) -> list[NewToken]:
        calls.append(refused)
        return learn(base, language, spans, size=1500, refused=refused)

    prose = probes.prose_of(english)
    text, lines = BaseText(words=english, measured_on=prose), probes.english_lines() + prose
    free = run(frozenset())
    assert drift(base, free, lines) > 0.01
    for limit in (0.005, 0.002):
        found = learn_within(base, language, text, limit, run)
        assert len(found.tokens) == 1500
        assert not {token.token for token in found.tokens} & calls[-1]
        assert found.refused == len(calls[-1]) > 0
        # On lines that did not choose.
        assert drift(base, found.tokens, lines) <= limit
        assert drift(base, found.tokens, probes.code_lines()) <= limit
    # Nothing is refused where nothing is asked.
    assert learn_within(base, language, text, 1.0, run).tokens == free


def test_what_is_spelled_is_every_run_of_tokens_in_a_word(registry: Registry, mistral: Tokenizer) -> None:
    language = registry.language("id")
    pieces = [mistral.token_bytes(i) or b"" for i in mistral.encode(["banyan"])[0]]
    assert len(pieces) > 1
    found = spelled(mistral, language, {"banyan": 0.5, "banyan, the": 0.25})
    runs = {b"".join(pieces[i:j]) for i in range(len(pieces)) for j in range(i + 2, len(pieces) + 1)}
    assert {token: share for token, share in found.items() if token in runs} == dict.fromkeys(runs, 0.75)
    assert set(found) == runs


def test_a_limit_of_nothing_leaves_the_base_text_alone(registry: Registry, base: Tokenizer) -> None:
    language = replace(registry.language("id"), max_drift=0.0001)
    cut = SpanCutter(base.preparer(), language)
    lines = [f"{word} {word}nya {word}kan" for word in WORDS] * 3
    spans = Counter(span for line in lines for span in cut(line, True, True))

    def run(refused: frozenset[bytes]) -> list[NewToken]:
        return learn(base, language, spans, size=8, min_count=1, refused=refused)

    found = learn_within(base, language, BaseText(words=WORDS), 0.0001, run)
    assert drift(base, found.tokens, tuple(f"a {word}" for word in WORDS)) == 0


def test_extend_records_the_drift_and_verify_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("mistral_common")
    corpus, english, out = data_file("udhr/sw.txt"), tmp_path / "english.txt", tmp_path / "out"
    english.write_text("\n".join(probes.code_lines()[:3000]), encoding="utf-8")
    done = vocabkit(
        "extend", "--lang", "sw", "--corpus", corpus, "--size", 200, "--base-text", english, "--max-drift", 0.02,
        "-o", out,
    )  # fmt: skip
    assert "at most 2.00% of the lines that share the script change" in done.stdout
    manifest = json.loads((out / "vocabkit.json").read_text())
    assert manifest["arguments"]["max_drift"] == 0.02
    assert manifest["arguments"]["base_text"] == [str(english)]
    again = vocabkit("verify", out, "--against", "starter")
    assert "at most 2.00% of the lines" in again.stdout
    # The same tokenizer does not keep a stricter promise, unless nothing changed at all.
    row = next(row for row in manifest["certificate"]["checks"] if row["name"] == "G5")
    strict = vocabkit(
        "verify", out, "--against", "starter", "--max-drift", 0, code=0 if " 0 of" in row["detail"] else 1
    )
    assert ("FAIL G5" in strict.stdout) == (strict.returncode == 1)
    english.unlink()
    assert "every guarantee holds" in vocabkit("verify", out, "--against", "starter").stdout


def test_what_does_not_go_together_is_said(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option in (("--max-drift", 0.1), ("--base-text", "wordfreq:en")):
        failed = vocabkit("extend", "--lang", "zh", *option, "-o", tmp_path / "out", code=1).stderr
        assert f"Chinese has a script of its own, so no other text changes; leave {option[0]} out" in failed
    monkeypatch.setattr("vocabkit.cli.learning.find_spec", lambda name: None)
    with pytest.raises(VocabkitError, match="English text says which tokens may be learned: `pip install"):
        read_protected(registry, registry.language("sw"), OPTIONS)
