"""`vocabkit diagnose` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vocabkit.cli import build_cli
from vocabkit.plugins import Registry
from vocabkit.tokenizer.base import NewToken, Tokenizer


@pytest.fixture
def run(registry: Registry):  # type: ignore[no-untyped-def]
    def invoke(*arguments: object) -> Result:
        command = build_cli(registry)
        return CliRunner().invoke(command, ["diagnose", *map(str, arguments)], standalone_mode=False)

    return invoke


def test_a_wrong_class_is_found_by_loading_it_and_mended(run, mistral: Tokenizer, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("transformers")
    model = tmp_path / "model"
    model.mkdir()
    mistral.save(model)
    config = json.loads((model / "tokenizer_config.json").read_text())
    # Right for many, but transformers 5 puts another pipeline around this tokenizer.json.
    (model / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "LlamaTokenizer"}))
    result = run(model, "--fix", "-o", tmp_path / "mended", "--json")
    document = json.loads(result.stdout)
    (found,) = document["findings"]
    assert found["name"] == "tokenizer_class"
    assert "AutoTokenizer gives other ids than tokenizer.json on" in found["problem"]
    assert document["fixed"] == ["tokenizer_class"]
    # Nothing is left to be found.
    assert result.return_value == 0
    mended = json.loads((tmp_path / "mended" / "tokenizer_config.json").read_text())
    assert mended == config | {"tokenizer_class": "PreTrainedTokenizerFast"}


def test_findings_have_the_exit_code_one_and_say_what_fix_leaves(run, mistral: Tokenizer, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    old = [piece.piece for piece in mistral.proto.pieces]  # type: ignore[attr-defined]
    token = next(p for p in ("国家人民", "人工智能") if p not in old)
    extended = mistral.extended([NewToken(token.encode(), (), 1)])
    (tmp_path / "a.model").write_bytes(extended.proto.SerializeToString())  # type: ignore[attr-defined]
    result = run(tmp_path / "a.model", "--against", "starter", "--lang", "zh")
    assert result.return_value == 1
    assert "1 known failure\n" in result.stdout
    assert (
        "unreachable tokens: 1 of 1 new tokens (100.0%) can never be produced; 1 have no two parts" in result.stdout
    )
    assert f"32000 '{token}'" in result.stdout


def test_a_healthy_base_and_misuse(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = run("starter")
    assert result.return_value == 0
    assert result.stdout == "starter: none of the known failures\n"
    assert "--fix needs --output" in str(run("starter", "--fix").exception)
    assert "starter is none" in str(run("starter", "--fix", "-o", tmp_path / "x").exception)
    assert "no such" not in str(run(tmp_path / "gone").exception)
    assert "does not exist; name a tokenizer file" in str(run(tmp_path / "gone").exception)
