"""`diff` says what changed, on real tokenizers and a tiny real model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from vocabkit.rows.checkpoint import open_checkpoint
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.diff import diff_tokenizers, diff_weights


def test_added_and_removed_tokens_are_text(smollm2_folder: Path) -> None:
    base = open_tokenizer(smollm2_folder)
    first, *rest = (base.token_bytes(i) or b"" for i in base.encode_bare(["软".encode()])[0])
    steps = [NewToken(first + rest[0], (first, rest[0]), 1)]
    extended = base.extended(steps).with_special_tokens(["<|tool|>"])
    found = diff_tokenizers(base, extended)
    assert found.added == {base.size: steps[0].text, base.size + 1: "<|tool|>"}
    assert found.specials == ("<|tool|>",)
    assert not found.removed
    assert not found.moved
    assert found.parts == ()
    assert diff_tokenizers(extended, base).removed == found.added
    assert diff_tokenizers(base, open_tokenizer(smollm2_folder)).same


def test_a_moved_token_and_a_changed_pipeline_are_told(mistral: Tokenizer, smollm2_folder: Path) -> None:
    found = diff_tokenizers(mistral, open_tokenizer(smollm2_folder))
    assert found.families == ("sentencepiece_bpe", "byte_level_bpe")
    assert found.moved["the"] == (mistral.id_table["the"], open_tokenizer(smollm2_folder).id_table["the"])
    assert "pre_tokenizer" in found.parts


def test_tensors_that_grew_changed_came_and_went(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    tensors = {
        "model.embed_tokens.weight": generator.standard_normal((10, 4)).astype(np.float32),
        "lm_head.weight": generator.standard_normal((10, 4)).astype(np.float32),
        "model.norm.weight": np.ones(4, np.float32),
        "old": np.ones(1, np.float32),
    }
    config = {"vocab_size": 10, "tie_word_embeddings": False, "architectures": ["LlamaForCausalLM"]}
    changed = dict(tensors)
    del changed["old"]
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        changed[name] = np.concatenate([tensors[name], np.ones((2, 4), np.float32)])
    changed["lm_head.weight"][3] += 1
    changed |= {"model.norm.weight": np.full(4, 2, np.float32), "new": np.ones(1, np.float32)}
    for name, values, rows in (("a", tensors, 10), ("b", changed, 12)):
        (tmp_path / name).mkdir()
        save_file(values, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
    a, b = open_checkpoint(tmp_path / "a"), open_checkpoint(tmp_path / "b")
    found = diff_weights(a, b)
    assert found.rows == (10, 12)
    assert set(found.grown) == {"model.embed_tokens.weight", "lm_head.weight"}
    assert found.changed_rows == {"lm_head.weight": 1}
    assert (found.added, found.removed, found.changed) == (("new",), ("old",), ("model.norm.weight",))
    assert not found.same
    assert diff_weights(a, replace(a)).same
