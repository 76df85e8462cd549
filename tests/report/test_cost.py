"""Costs follow from a model's shape; the shapes are those of the released models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers
from tiny_models import tiny

from vocabkit import VocabkitError
from vocabkit.report.cost import SHAPES, break_even_characters, cost_of, shape_of, with_rows_of

# Parameters as the papers and model cards say them.
RELEASED = {
    "llama-7b": 6_738_415_616, "llama-13b": 13_015_864_320, "llama-33b": 32_528_943_616, "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704, "llama-3-8b": 8_030_261_248, "llama-3.2-1b": 1_235_814_400,
    "smollm2-135m": 134_515_008,
}  # fmt: skip


@pytest.mark.parametrize("name", RELEASED)
def test_shapes_have_the_parameters_of_the_released_models(name: str) -> None:
    assert SHAPES[name].parameters == RELEASED[name]


@pytest.mark.parametrize("kind", ["llama", "mistral", "mixtral"])
def test_a_folder_gives_its_own_shape(kind: str, tmp_path: Path, smollm2_folder: Path) -> None:
    more = {"num_local_experts": 4, "num_experts_per_tok": 2} if kind == "mixtral" else {}
    folder = tiny(tmp_path / "model", smollm2_folder, model_type=kind, tied=False, **more)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    shape = shape_of(str(folder))
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert shape == shape_of(str(folder / "config.json"))


def test_a_shape_takes_the_rows_of_the_base() -> None:
    # Of its 152,064 rows Qwen2.5-7B uses 151,665; a tokenizer with other rows is another base on the same body.
    assert with_rows_of(SHAPES["qwen2.5-7b"], 151_665) == SHAPES["qwen2.5-7b"]
    for rows in (32_000, 152_065):
        shape = with_rows_of(SHAPES["qwen2.5-7b"], rows)
        assert (shape.vocabulary, shape.body) == (rows, SHAPES["qwen2.5-7b"].body)


def test_the_paper_s_extension_of_7b() -> None:
    """Half as many tokens, 32,000 -> 49,953: 1.1 % of compute goes to the larger head (147 M parameters)."""
    cost = cost_of(SHAPES["llama-7b"], 49_953, 1.0, 0.5)
    assert cost.compute == pytest.approx(0.5 * 1.0111, abs=1e-4)
    assert cost.new_parameters == 17_953 * 4096 * 2
    assert cost.kv_bytes_per_character == 0.5 * 2 * 32 * 4096 * 2
    unchanged = cost_of(SHAPES["llama-7b"], 32_000, 1.0, 1.0)
    assert (unchanged.compute, unchanged.memory, unchanged.net) == (1, 1, 1)
    # Training a billion tokens at 6 FLOPs a parameter, half of 2 FLOPs saved for each character.
    paid = break_even_characters(SHAPES["llama-7b"], 32_000, 1.0, 0.5, 1e9)
    assert paid == pytest.approx(6e9)
    assert break_even_characters(SHAPES["llama-7b"], 49_953, 1.0, 1.0, 1e9) is None


def test_what_is_no_shape_is_said(tmp_path: Path) -> None:
    with pytest.raises(VocabkitError, match="unknown model shape 'llama-8b'; did you mean"):
        shape_of("llama-8b")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"hidden_size": 64, "num_attention_heads": 4}))
    with pytest.raises(VocabkitError, match="lacks 'num_hidden_layers'; name another --model-shape"):
        shape_of(str(path))
    path.write_text("[]")
    with pytest.raises(VocabkitError, match="is no config of a model"):
        shape_of(str(tmp_path))
