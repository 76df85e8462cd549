"""Tiny real models with real tokenizers, extended by the real command; Chinese and English text to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import vocabkit

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHAPE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
ENGLISH = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "A model that is taught a new language should not forget the old one.",
    "Numbers are compared in bits per byte, because tokens differ between vocabularies.",
)


def tiny(folder: Path, tokenizer: Path, *, tied: bool, **more: Any) -> Path:
    """Write a model of random weights with a real tokenizer."""
    kind = more.pop("model_type", "llama")
    config = transformers.AutoConfig.for_model(kind, **SHAPE, vocab_size=49152, tie_word_embeddings=tied, **more)
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for path in tokenizer.iterdir():
        if path.name.startswith("tokenizer"):
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="session")
def chinese_file(tmp_path_factory: pytest.TempPathFactory, chinese_lines: list[str]) -> Path:
    path = tmp_path_factory.mktemp("text") / "zh.txt"
    path.write_text("\n".join(chinese_lines[:600]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def english_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "en.txt"
    path.write_text("\n".join(ENGLISH * 40) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def extended(
    tmp_path_factory: pytest.TempPathFactory, smollm2_folder: Path, chinese_file: Path
) -> Callable[[bool], Path]:
    """Return the extended tiny model, tied or not; each is made once."""
    made: dict[bool, Path] = {}

    def get(tied: bool = True) -> Path:
        if tied not in made:
            folder = tmp_path_factory.mktemp("tiny")
            base = tiny(folder / "base", smollm2_folder, tied=tied)
            vocabkit(
                "extend", "--lang", "zh", "--base", base, "--corpus", chinese_file, "--size", 100, "--init", "copy",
                "-o", folder / "zh",
            )  # fmt: skip
            made[tied] = folder / "zh"
        return made[tied]

    return get
