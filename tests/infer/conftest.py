"""Models that write: tiny ones of every family, and SmolLM2 as it is and extended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import vocabkit
from tiny_models import tiny

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="session", autouse=True)
def by_torch(plain_kernels: None) -> None:
    """Every test here."""


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, smollm2_folder: Path) -> Callable[..., Path]:
    """Return a tiny model of some family; each is made once."""
    made: dict[str, Path] = {}

    def get(kind: str = "llama", **more: Any) -> Path:
        key = f"{kind} {more}"
        if key not in made:
            how = {"tied": False, "initializer_range": 0.2, **more}
            made[key] = tiny(tmp_path_factory.mktemp(kind) / "model", smollm2_folder, model_type=kind, **how)
        return made[key]

    return get


@pytest.fixture(scope="session")
def smollm2_extended(smollm2_model: Path, chinese_lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extended")
    text = folder / "zh.txt"
    text.write_text("\n".join(chinese_lines[:2000]) + "\n", encoding="utf-8")
    vocabkit("extend", "--lang", "zh", "--base", smollm2_model, "--corpus", text, "--size", 500, "--init", "copy",
             "-o", folder / "zh")  # fmt: skip
    return folder / "zh"
