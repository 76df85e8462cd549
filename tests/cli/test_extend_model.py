"""`vocabkit extend` on a real model: SmolLM2-135M in, a larger one out that plain transformers loads."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import vocabkit as in_process
from tiny_models import tiny

from vocabkit.cli.rows import RowChoice, row_options
from vocabkit.language import Language
from vocabkit.plugins import Registry
from vocabkit.rows.checkpoint import open_checkpoint

SIZE = 1000
FRESH = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
base, extended, chinese = sys.argv[1:]
torch.set_grad_enabled(False)
models = [AutoModelForCausalLM.from_pretrained(folder, local_files_only=True) for folder in (base, extended)]
tokenizers = [AutoTokenizer.from_pretrained(folder, local_files_only=True) for folder in (base, extended)]
english = "The committee met on Tuesday. Its report, which runs to 48 pages, was published a week later."
ids = [tokenizer(english, return_tensors="pt").input_ids for tokenizer in tokenizers]
old, new = (model(i).logits[0] for model, i in zip(models, ids))
size = old.shape[-1]
padding = new.softmax(-1)[:, len(tokenizers[1]):]
zh = tokenizers[1](chinese, return_tensors="pt").input_ids
print(json.dumps({
    "same_ids": ids[0].tolist() == ids[1].tolist(),
    "same_logits": torch.equal(old, new[:, :size]),
    "extra_mass": float((new.logsumexp(-1) - old.logsumexp(-1)).mean()),
    "padding": float(padding.max()),
    "tokens": [len(tokenizer(chinese).input_ids) for tokenizer in tokenizers],
    "continued": models[1].generate(zh, max_new_tokens=8, do_sample=False)[0, zh.shape[1]:].tolist(),
    "length": len(tokenizers[1]),
}))
"""


def vocabkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vocabkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture(scope="module")
def extended(smollm2_model: Path, chinese_lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extended")
    (folder / "corpus.txt").write_text("\n".join(chinese_lines[:3000]), encoding="utf-8")
    arguments = ["--base", str(smollm2_model), "--corpus", str(folder / "corpus.txt"), "--size", str(SIZE)]
    result = vocabkit("extend", "--lang", "zh", *arguments, "--init", "copy", "-o", str(folder / "out"), "--json")
    assert result.returncode == 0, result.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def small(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a narrow model with the same rows, for what hangs on neither width nor depth."""
    return tiny(tmp_path_factory.mktemp("small") / "model", smollm2_folder, tied=True)


@pytest.fixture(scope="module")
def small_extended(small: Path, extended: Path) -> Path:
    folder = small.parent / "out"
    in_process("extend", "--lang", "zh", "--base", small, "--vocabulary", extended, "--init", "copy", "-o", folder)
    return folder


def test_plain_transformers_loads_it_and_english_is_what_it_was(
    smollm2_model: Path, extended: Path, chinese_lines: list[str]
) -> None:
    command = [sys.executable, "-c", FRESH, str(smollm2_model), str(extended), chinese_lines[4000]]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert found["same_ids"]
    assert found["same_logits"]
    # The new tokens take something from the old ones: log(1 + their share).
    assert 0 <= found["extra_mass"] < 0.01
    assert found["padding"] < 1e-6
    assert found["tokens"][1] < 0.7 * found["tokens"][0]
    assert max(found["continued"]) < found["length"] == 49_152 + SIZE


def test_the_certificate_covers_the_weights(smollm2_model: Path, extended: Path) -> None:
    result = vocabkit("verify", str(extended), "--against", str(smollm2_model), "--json")
    certificate = json.loads(result.stdout)
    assert result.returncode == 0
    assert certificate["ok"]
    rows = next(check for check in certificate["checks"] if check["name"] == "G10")
    assert "G11" in [check["name"] for check in certificate["checks"]]
    assert "49,152 old rows compared, 1,000 new in 50,176 rows, tied" in rows["detail"]
    assert json.loads((extended / "vocabkit.json").read_text())["init"]


def test_a_flipped_bit_in_the_weights_is_found(small: Path, small_extended: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small_extended, tmp_path / "copy")
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1_000_000, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    result = in_process("verify", copy, "--against", small, "--json", code=1)
    assert "model.safetensors is not the file that was written" in result.stdout


def test_an_old_row_that_changed_is_found(small: Path, small_extended: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small_extended, tmp_path / "copy", ignore=shutil.ignore_patterns("vocabkit.json"))
    rows = open_checkpoint(copy).input
    one = rows.tensor.nbytes // rows.tensor.shape[0]
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(rows.tensor.start + 1234 * one)
        file.write(b"\0\0\0\0")
        file.seek(rows.tensor.start + 49_200 * one)
        row = file.read(one)
        file.write(row)
    result = in_process("verify", copy, "--against", small, "--lang", "zh", "--json", code=1)
    items = next(check["items"] for check in json.loads(result.stdout)["checks"] if check["name"] == "G10")
    assert "model.embed_tokens.weight: row 1234 changed" in items
    assert "model.embed_tokens.weight: row 49201 equals another new row" in items


def test_a_dry_run_says_how_much_the_weights_grow(smollm2_model: Path, extended: Path, tmp_path: Path) -> None:
    arguments = [
        "--base",
        smollm2_model,
        "--vocabulary",
        extended,
        "--size",
        100,
        "-o",
        tmp_path / "out",
        "--dry-run",
    ]
    plan = json.loads(in_process("extend", "--lang", "zh", *arguments, "--json").stdout)
    assert plan["padded_size"] == 49_280
    # 128 more rows of 576 float32 values; the head is tied.
    assert plan["weights_grow_bytes"] == 128 * 576 * 4
    assert "Nothing was written" in in_process("extend", "--lang", "zh", *arguments).stdout
    assert not (tmp_path / "out").exists()


def test_the_tokenizer_alone_on_request(small: Path, extended: Path, tmp_path: Path) -> None:
    arguments = ["--base", small, "--vocabulary", extended, "--no-weights", "--size", 100]
    in_process("extend", "--lang", "zh", *arguments, "-o", tmp_path / "out", "--json")
    assert not list((tmp_path / "out").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--init", "subword-men"], "unknown initializer 'subword-men'; did you mean 'subword-mean'?"),
        (["--init-option", "k"], "write --init-option as NAME=VALUE"),
        (["--init", "mean", "--no-weights"], "--init makes rows for a model's weights"),
        (["--init", "omp", "--size", "5"], "name its folder with --donor"),
        (
            ["--init", "distill", "--init-option", "depth=3", "--size", "5"],
            "no option 'depth'; it takes layer, tokens",
        ),
    ],
)
def test_bad_options_are_one_line(arguments: list[str], message: str, small: Path, tmp_path: Path) -> None:
    run = in_process("extend", "--base", small, "--lang", "zh", "-o", tmp_path / "out", *arguments, code=None)
    assert run.returncode in (1, 2)
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_bench_perplexity_and_init_compare_in_bits_per_byte(
    smollm2_model: Path, extended: Path, chinese_lines: list[str], tmp_path: Path
) -> None:
    text = tmp_path / "held-out.txt"
    text.write_text("\n".join(chinese_lines[4000:4008]), encoding="utf-8")
    found = vocabkit("bench", "perplexity", str(smollm2_model), str(extended), "--text", str(text), "--json")
    before, after = json.loads(found.stdout)["rows"]
    assert before["bytes"] == after["bytes"]
    assert after["tokens"] < before["tokens"]
    assert 0 < before["bits_per_byte"] < after["bits_per_byte"] < 8
    arguments = ["--lang", "zh", "--vocabulary", str(extended), "--init", "copy", "--init", "zeros"]
    found = vocabkit("bench", "init", str(smollm2_model), *arguments, "--text", str(text), "--json")
    rows = {row["initializer"]: row["bits_per_byte"][str(text)] for row in json.loads(found.stdout)["rows"]}
    assert rows["unextended"] == pytest.approx(before["bits_per_byte"], rel=1e-3)
    # What `extend` wrote, and what `bench init` made in memory, are the same model.
    assert rows["copy"] == pytest.approx(after["bits_per_byte"], rel=1e-3)
    assert rows["zeros"] > rows["copy"]


def test_the_default_is_what_measured_best_and_can_run(
    smollm2_model: Path, registry: Registry, chinese: Language, tmp_path: Path
) -> None:
    checkpoint, choice = open_checkpoint(smollm2_model), RowChoice((), (), None)
    assert chinese.initializer == "auto"
    assert row_options(registry, chinese, "auto", choice, checkpoint, corpus=()).name == "shift"
    assert row_options(registry, chinese, "auto", choice, checkpoint, corpus=["-"]).name == "copy"
    untied = dataclasses.replace(checkpoint, tied=False)
    assert row_options(registry, chinese, "auto", choice, untied, corpus=()).name == "copy"


def test_rows_are_fitted_on_text_and_the_certificate_holds(
    smollm2_model: Path, extended: Path, chinese_lines: list[str], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(chinese_lines[:300]), encoding="utf-8")
    arguments = ["--base", str(smollm2_model), "--vocabulary", str(extended), "--size", "200", "--init", "distill"]
    arguments += ["--init-option", "tokens=600", "--init-option", "distill.layer=2", "--init-option", "focus.k=1"]
    run = vocabkit(
        "extend", "--lang", "zh", *arguments, "--init-corpus", str(text), "-o", str(tmp_path / "out"), "--json"
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["certificate"]["ok"]
    assert result["weights"]["init"] == "distill"
    said = json.loads((tmp_path / "out" / "vocabkit.json").read_text())["arguments"]
    assert said["init_corpus"] == [str(text)]
    assert said["init_option"] == ["tokens=600", "distill.layer=2", "focus.k=1"]


def test_rows_come_from_a_donor_that_has_the_tokens(smollm2_model: Path, extended: Path, tmp_path: Path) -> None:
    """The donor is the base extended before: the rows they share are the same, so the sums carry over as they are."""
    arguments = ["--base", str(smollm2_model), "--vocabulary", str(extended), "--size", "50", "--init", "omp"]
    run = vocabkit(
        "extend",
        "--lang",
        "zh",
        *arguments,
        "--donor",
        str(extended),
        "--init-option",
        "k=32",
        "-o",
        str(tmp_path / "out"),
    )
    assert run.returncode == 0, run.stderr
    made, theirs = (
        open_checkpoint(folder).input.values[49_152:49_202].astype(np.float32)
        for folder in (tmp_path / "out", extended)
    )
    cosine = (made * theirs).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.9
    assert json.loads((tmp_path / "out" / "vocabkit.json").read_text())["arguments"]["donor"] == extended.name
