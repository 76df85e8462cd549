"""A model folder as one GGUF file, which llama.cpp, Ollama and LM Studio run."""

from __future__ import annotations

from importlib.util import find_spec

from vocabkit.errors import VocabkitError


def need_gguf() -> None:
    """Raise VocabkitError, which says what to install, unless the package gguf is there."""
    if find_spec("gguf") is None:
        raise VocabkitError("writing GGUF needs the package gguf; run `pip install 'vocabkit[gguf]'`")
