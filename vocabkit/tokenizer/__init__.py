"""Open, grow, run and write the tokenizers of language models."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vocabkit.tokenizer.base import Tokenizer


def open_tokenizer(spec: object) -> Tokenizer:
    """Open the tokenizer that `spec` names: see `vocabkit.tokenizer.open`."""
    from vocabkit.tokenizer.open import open_tokenizer as run

    return run(str(spec))
