"""Open a model to be asked in text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vocabkit.infer.asked import Asked
    from vocabkit.infer.load import Opening


def open_asked(model: Path, how: Opening, *, as_chat: bool, template: str) -> Asked:
    """Return a model, or a run, behind texts.  as_chat: by its chat template, `template` or its own."""
    from vocabkit.infer.asked import Asked
    from vocabkit.infer.load import open_engine
    from vocabkit.infer.prompts import Prompts

    engine = open_engine(model, how)
    return Asked(engine, Prompts(model, engine.tokenizer, template), as_chat=as_chat)
