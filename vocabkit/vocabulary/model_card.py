"""The small files of an extended model: its card, and the settings that keep padding from being generated."""

from __future__ import annotations

import json
import re
from pathlib import Path

from vocabkit.language import Language
from vocabkit.rows.checkpoint import Checkpoint, read_json

GENERATION_CONFIG = "generation_config.json"
CARD = "README.md"
# Kept from the base's card: under which terms it may be used.
KEPT_FIELDS = ("license", "license_name", "license_link")


def write_generation_config(checkpoint: Checkpoint, folder: Path, *, size: int, rows: int) -> None:
    """Write the base's generation settings with every padding row, from `size` up to `rows`, suppressed."""
    path = checkpoint.folder / GENERATION_CONFIG
    settings = read_json(path) if path.is_file() else {}
    if rows > size:
        before = [i for i in settings.get("suppress_tokens") or [] if i < size]
        settings["suppress_tokens"] = before + list(range(size, rows))
    if settings:
        text = json.dumps(settings, ensure_ascii=False, indent=2)
        (folder / GENERATION_CONFIG).write_text(text + "\n", encoding="utf-8")


def write_model_card(
    checkpoint: Checkpoint, folder: Path, language: Language, *, base_size: int, size: int, rows: int, init: str
) -> None:
    """Write a card with the header that model hubs read, and what a reader must know before using the model."""
    name = checkpoint.folder.resolve().name
    header = [
        f"language: [{language.code}]",
        f"base_model: {json.dumps(name)}",
        "base_model_relation: finetune",
        "library_name: transformers",
        "tags: [vocabkit, vocabulary-extension]",
        *_kept_fields(checkpoint.folder / CARD),
    ]
    text = f"""---
{chr(10).join(header)}
---

# {name}, extended for {language.name}

{size - base_size:,} tokens were added to the {base_size:,} of {name}. Every old token keeps its id and its row,
bit by bit.
The {rows:,} rows hold {rows - size:,} of padding, which `{GENERATION_CONFIG}` suppresses.

The new rows were made by `{init}` and **have not been trained**: continue the pre-training before you judge this
model on {language.name} text.

`vocabkit.json` holds the certificate and the checksum of every file; `vocabkit verify` checks both.
"""
    (folder / CARD).write_text(text, encoding="utf-8")


def _kept_fields(card: Path) -> list[str]:
    if not card.is_file():
        return []
    match = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    lines = match[1].splitlines() if match else []
    return [line for line in lines if line.split(":")[0] in KEPT_FIELDS and line.split(":", 1)[-1].strip()]
