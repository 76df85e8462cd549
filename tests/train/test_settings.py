"""Numbers of runs, and what the papers trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vocabkit.errors import VocabkitError
from vocabkit.train.settings import PRESETS, Settings, learning_rate_factor, settings_for

# Source: the papers' tables and READMEs; base parameters with 49,953 rows.
SIZES = {"7b": (4096, 11008, 32, 32), "13b": (5120, 13824, 40, 40), "33b": (6656, 17920, 60, 52)}
PUBLISHED = [
    ("7b", "chinese-llama-7b-stage1", "2.97%"),
    ("7b", "chinese-llama-7b", "6.06%"),
    ("7b", "chinese-llama-plus", "6.22%"),
    ("7b", "chinese-alpaca-plus", "8.08%"),
    ("13b", "chinese-llama-13b", "4.10%"),
    ("13b", "chinese-alpaca-plus", "5.66%"),
    ("33b", "chinese-llama-33b", "2.21%"),
]


def write_config(folder: Path, size: str, **more: Any) -> Path:
    width, inner, layers, heads = SIZES[size]
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"],
        "hidden_size": width, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": heads,
        "vocab_size": 49953, "tie_word_embeddings": False, **more,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(("size", "preset", "share"), PUBLISHED)
def test_the_published_shares_of_trained_parameters(size: str, preset: str, share: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from vocabkit.train.plan import plan

    found = plan(write_config(tmp_path, size), settings_for(None, preset, {}))
    assert f"{found.trained / found.parameters:.2%}" == share


def test_new_rows_alone_are_a_fraction_of_that(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from vocabkit.train.plan import plan

    folder = write_config(tmp_path, "7b")
    (folder / "vocabkit.json").write_text(json.dumps({"base": {"size": 32000}, "files": {}}))
    whole = plan(folder, settings_for(None, "chinese-llama-7b", {}))
    new = plan(folder, settings_for(None, "chinese-llama-7b", {"rows": "new"}))
    assert whole.parameters == new.parameters
    assert whole.trained - new.trained == 2 * 32000 * 4096
    assert new.memory["optimizer"] < whole.memory["optimizer"] / 2
    four = plan(folder, settings_for(None, "chinese-llama-7b", {"rows": "new", "quantize": "nf4"}))
    assert (four.parameters, four.trained) == (new.parameters, new.trained)
    assert four.memory["frozen weights"] < new.memory["frozen weights"] / 3


def test_a_preset_a_stage_and_what_is_given_lie_over_each_other() -> None:
    found = settings_for("pretrain", None, {"rank": 4})
    assert (found.rank, found.alpha, found.rows) == (4, 32.0, "new")
    assert settings_for(None, "chinese-mixtral", {}).quantize == "nf4"
    assert settings_for("instruct", "chinese-llama-7b", {}).stage == "instruct"
    for name in PRESETS:
        settings = settings_for(None, name, {})
        assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rank": 0}, "rank 0"),
        ({"warmup": 1.5}, "warmup 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate nan"),
        ({"rows": "none"}, "nothing would be trained"),
        ({"block_size": 1}, "block_size 1"),
        ({"schedule": "sudden"}, "sudden"),
    ],
)
def test_numbers_that_make_no_sense_are_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(VocabkitError, match=message):
        settings_for("rows", None, given)


def test_a_misspelled_preset_names_the_nearest() -> None:
    with pytest.raises(VocabkitError, match="did you mean 'chinese-llama-7b'"):
        settings_for(None, "chinese-lama-7b", {})
    with pytest.raises(VocabkitError, match="--stage"):
        settings_for(None, None, {})


def test_the_rate_rises_in_a_line_and_falls_to_nothing() -> None:
    settings = settings_for("rows", None, {"warmup": 0.1})
    rates = [learning_rate_factor(settings, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001
    flat = settings_for("rows", None, {"warmup": 0.0, "schedule": "constant"})
    assert {learning_rate_factor(flat, step, 5) for step in range(5)} == {1.0}
