"""`vocabkit export check` finds what would stop vLLM, or make it write tokens that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from vocabkit.cli.export import export
from vocabkit.infer.readiness import check_ready
from vocabkit.rows.checkpoint import open_checkpoint
from vocabkit.rows.surgery import NewRows, extend_checkpoint
from vocabkit.vocabulary.model_card import write_generation_config


@pytest.fixture(scope="session")
def padded(small: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with 64 rows of padding, as `vocabkit extend` writes it."""
    base = small("llama")
    folder = tmp_path_factory.mktemp("padded") / "model"
    folder.mkdir()
    checkpoint = open_checkpoint(base)
    rows = {t.name: NewRows(t.values[:0], t.values[5]) for t in checkpoint.row_tensors}
    extend_checkpoint(checkpoint, folder, lambda: rows, first=49152, rows=49216)
    write_generation_config(checkpoint, folder, size=49152, rows=49216)
    for path in base.glob("tokenizer*"):
        shutil.copyfile(path, folder / path.name)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    return folder


def answers(folder: Path) -> dict[str, tuple[bool | None, str]]:
    return {finding.name: (finding.ok, finding.detail) for finding in check_ready(folder)}


def test_a_model_as_extend_writes_it_is_ready(padded: Path) -> None:
    found = answers(padded)
    assert {name for name, (ok, _) in found.items() if not ok} == set()
    assert found["rows"][1] == "49,216 rows, a multiple of 64, for 49,152 tokens"
    assert found["phantom ids"][1].startswith("64 rows without a token, none zero")
    assert found["class"][1] == "LlamaForCausalLM"
    result = CliRunner().invoke(export, ["check", str(padded)])
    assert result.exit_code == 0
    assert result.output.endswith("is ready for vLLM.\n")


@pytest.mark.parametrize(
    ("file", "change", "name", "message"),
    [
        ("config.json", {"architectures": None}, "class", "names no class in `architectures`"),
        (
            "config.json",
            {"architectures": ["LlamaForCausalM"]},
            "class",
            "no causal language model",
        ),
        ("config.json", {"auto_map": {"AutoModel": "a.B"}}, "class", "needs --trust-remote-code"),
        ("config.json", {"dtype": None}, "dtype", "says dtype None; set it to float32"),
        ("config.json", {"dtype": "bfloat16"}, "dtype", "the rows are stored as float32"),
        ("generation_config.json", {"suppress_tokens": [49153]}, "padding", "does not suppress 63 rows"),
        ("generation_config.json", {"eos_token_id": [2, 49160]}, "end of text", "eos_token_id 49160 is no token"),
        ("tokenizer_config.json", {"tokenizer_class": "T5Tokenizer"}, "tokenizer", "set PreTrainedTokenizerFast"),
    ],
)
def test_what_is_wrong_is_named(
    file: str, change: dict[str, Any], name: str, message: str, padded: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(padded, folder)
    data = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(data | change), encoding="utf-8")
    found = answers(folder)
    assert {other for other, (ok, _) in found.items() if not ok} == {name}
    assert message in found[name][1]


def test_rows_of_zeros_and_odd_numbers_of_rows_are_found(padded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(padded, folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][49200:] = 0
    save_file({name: values[:49206] if len(values) == 49216 else values for name, values in weights.items()},
              folder / "model.safetensors", {"format": "pt"})  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 49206}))
    found = answers(folder)
    assert found["phantom ids"] == (
        False,
        "6 of 54 rows without a token are zero in lm_head.weight, the first of id 49200; "
        "`vocabkit extend` makes rows that are never chosen",
    )
    assert found["rows"] == (False, "49,206 rows are no multiple of 64; `vocabkit extend` pads them")


def test_a_shard_that_is_cut_off_ends_the_check(padded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(padded, folder)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1000])
    result = CliRunner().invoke(export, ["check", str(folder), "--json"])
    document = json.loads(result.output)
    assert result.exit_code == 1
    assert not document["ready"]
    assert [finding["name"] for finding in document["findings"]] == ["shards"]
    assert "is cut off" in document["findings"][0]["detail"]


def test_more_tokens_than_rows_are_found(padded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(padded, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    token = {"content": "<|far|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"].append({"id": 49999, **token, "special": True})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    assert answers(folder)["rows"] == (
        False,
        "the tokenizer has 50,000 tokens for 49,216 rows; resize the model to its tokenizer",
    )
