"""Tiny real models with real tokenizers, extended by the real command; Chinese and English text to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from runs import vocabkit
from tiny_models import tiny

pytest.importorskip("torch")
pytest.importorskip("transformers")

ENGLISH = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "A model that is taught a new language should not forget the old one.",
    "Numbers are compared in bits per byte, because tokens differ between vocabularies.",
)


@pytest.fixture(scope="session", autouse=True)
def by_torch(plain_kernels: None) -> None:
    """Every test here."""


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
