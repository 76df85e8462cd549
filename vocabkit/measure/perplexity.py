"""How well a model predicts text, in figures that can be compared across vocabularies.

Perplexity per token cannot: a model with longer tokens has fewer and harder ones.  Bits per byte can, for the bytes
of a text are the same for every tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vocabkit.model.scores import document_bits
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.start import start_id


@dataclass(frozen=True)
class Perplexity:
    """One model on one text.

    bits_per_byte: over the UTF-8 bytes of the lines, line breaks not counted.
    bits_per_character, bits_per_token: the same bits over characters and tokens.
    perplexity: 2 to the bits per token; only for one and the same tokenizer.
    """

    model: str
    text: str
    lines: int
    bytes: int
    characters: int
    tokens: int
    bits_per_byte: float
    bits_per_character: float
    bits_per_token: float
    perplexity: float

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def perplexity(
    name: str,
    model: Any,
    tokenizer: Tokenizer,
    text_name: str,
    lines: Sequence[str],
    *,
    context: int = 1024,
    progress: Callable[[int], None] | None = None,
) -> Perplexity:
    """Return the figures of `model` on `lines`, each a document of its own."""
    documents = tokenizer.encode(lines)
    bits = sum(document_bits(model, documents, start_id(tokenizer), context=context, progress=progress))
    tokens = sum(map(len, documents))
    size, characters = sum(len(line.encode()) for line in lines), sum(map(len, lines))
    per_token = bits / max(tokens, 1)
    return Perplexity(
        name,
        text_name,
        len(lines),
        size,
        characters,
        tokens,
        bits / max(size, 1),
        bits / max(characters, 1),
        per_token,
        2.0 ** min(per_token, 1000),
    )
