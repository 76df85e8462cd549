"""`vocabkit guard` fails when the base's language gets worse, and only then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import vocabkit, vocabkit_json
from tiny_models import tiny

from vocabkit.vocabulary.probes import english_lines


@pytest.fixture(scope="session")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guard") / "en.txt"
    path.write_text("\n".join(english_lines()[:16]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def chinese_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guard") / "zh"
    vocabkit("extend", "--lang", "zh", "--size", 50, "-o", folder)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, smollm2_folder: Path) -> tuple[Path, Path, Path]:
    """Return a tiny model, a copy of it, and one whose body was spoilt a little."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("guard-models")
    made = [tiny(folder / name, smollm2_folder, tied=True) for name in ("base", "same", "worse")]
    model = transformers.AutoModelForCausalLM.from_pretrained(made[2])
    with torch.no_grad():
        # Random weights say nothing about any token; a vector that favours some says something wrong.
        model.model.norm.weight.mul_(12)
    model.save_pretrained(made[2])
    return made[0], made[1], made[2]


def test_an_extension_that_leaves_english_alone_passes(chinese_tokenizer: Path, english: Path) -> None:
    found = vocabkit_json("guard", "starter", chinese_tokenizer, "--text", english)
    assert found["ok"]
    assert found["segmentation"] == {"ok": True, "lines": 16, "changed": 0, "allowed": 0, "examples": []}
    assert found["bits_per_byte"] is None


def test_lines_that_are_segmented_anew_fail_and_are_shown(chinese_tokenizer: Path, tmp_path: Path) -> None:
    text = tmp_path / "mixed.txt"
    text.write_text("plain English\n" * 9 + "and 我们的 among it\n", encoding="utf-8")
    found = vocabkit_json("guard", "starter", chinese_tokenizer, "--text", text, code=1)
    assert not found["ok"]
    assert found["segmentation"]["changed"] == 1
    assert found["segmentation"]["examples"] == ["and 我们的 among it"]
    for allowed in ("1", "10%", "0.1", "100%"):
        vocabkit("guard", "starter", chinese_tokenizer, "--text", text, "--max-changed", allowed)
    vocabkit("guard", "starter", chinese_tokenizer, "--text", text, "--max-changed", "9%", code=1)
    shown = vocabkit("guard", "starter", chinese_tokenizer, "--text", text, code=1).stdout
    assert "anew: and 我们的 among it" in shown
    assert "FAIL" in shown


def test_a_language_in_english_letters_may_change_what_was_promised(tmp_path: Path) -> None:
    folder, text = tmp_path / "sw", tmp_path / "en.txt"
    corpus = tmp_path / "sw.txt"
    corpus.write_text("Watu wote wamezaliwa huru, hadhi na haki zao ni sawa.\n" * 9, encoding="utf-8")
    text.write_text("\n".join((english_lines() * 2)[:40]) + "\n", encoding="utf-8")
    vocabkit(
        "extend", "--lang", "sw", "--corpus", corpus, "--size", 5, "--max-drift", 0.05, "--base-text", text,
        "-o", folder,
    )  # fmt: skip
    manifest = json.loads((folder / "vocabkit.json").read_text())
    assert vocabkit_json("guard", "starter", folder, "--text", text, code=None)["segmentation"]["allowed"] == 2
    # What is made of it, as `fuse` makes it, says its language and no argument.
    (folder / "vocabkit.json").write_text(json.dumps({**manifest, "arguments": {}}))
    assert vocabkit_json("guard", "starter", folder, "--text", text, code=None)["segmentation"]["allowed"] == 0
    text.write_text("\n".join((english_lines() * 6)[:200]) + "\n", encoding="utf-8")
    assert vocabkit_json("guard", "starter", folder, "--text", text, code=None)["segmentation"]["allowed"] == 2


def test_a_model_that_predicts_english_worse_fails(models: tuple[Path, Path, Path], english: Path) -> None:
    base, same, worse = models
    found = vocabkit_json("guard", base, same, "--text", english)
    assert found["bits_per_byte"]["loss"] == 0
    assert found["bits_per_byte"]["resolved"]
    (row,) = vocabkit_json("bench", "perplexity", base, "--text", english)["rows"]
    assert found["bits_per_byte"]["base"] == pytest.approx(row["bits_per_byte"])
    found = vocabkit_json("guard", base, worse, "--text", english, code=1)
    bits: dict[str, Any] = found["bits_per_byte"]
    assert not bits["ok"]
    assert bits["low"] < bits["loss"] < bits["high"]
    # The figure itself decides, at a limit just above it and just below.
    over, under = (f"{bits['loss'] * by:.6f}" for by in (1.001, 0.999))
    found = vocabkit_json("guard", base, worse, "--text", english, "--max-loss", over)
    assert not found["bits_per_byte"]["resolved"]
    shown = vocabkit("guard", base, worse, "--text", english, "--max-loss", under, code=1)
    assert "not resolved" in shown.stdout + shown.stderr


def test_bad_input_gets_one_line(chinese_tokenizer: Path, english: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n", encoding="utf-8")
    done = vocabkit("guard", "starter", chinese_tokenizer, "--text", empty, code=1)
    assert done.stderr == f"error: {empty} holds no text; name another file with --text\n"
    done = vocabkit("guard", "starter", chinese_tokenizer, "--text", english, "--max-loss", "2", code=2)
    assert "'2' is no share; write for example 2% or 0.02" in done.stderr


def test_a_model_beside_a_tokenizer_is_compared_by_segmentation_alone(
    models: tuple[Path, Path, Path], english: Path
) -> None:
    done = vocabkit("guard", models[0], models[0] / "tokenizer.json", "--text", english)
    assert "holds no model, so only the segmentation is compared" in done.stderr
