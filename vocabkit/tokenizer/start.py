"""What a document begins after, and what ends it."""

from __future__ import annotations

from vocabkit.tokenizer.base import Tokenizer

# In this order: BOS, what separates documents in training, and EOS.
STARTS = ("<s>", "<|begin_of_text|>", "<bos>", "<|endoftext|>", "<|im_start|>", "</s>", "<|im_end|>")


def start_id(tokenizer: Tokenizer) -> int:
    """Return the id that a document begins after: the configured BOS, else what separates documents."""
    for token in (_configured(tokenizer, "bos_token"), *STARTS[:4], _configured(tokenizer, "eos_token"), *STARTS[4:]):
        if token in tokenizer.id_table:
            return tokenizer.id_table[token]
    return 0


def eos_id(tokenizer: Tokenizer) -> int | None:
    """Return the id that ends a document: the configured EOS, None when there is none."""
    return next(
        (tokenizer.id_table[t] for t in (_configured(tokenizer, "eos_token"), "</s>") if t in tokenizer.id_table),
        None,
    )


def _configured(tokenizer: Tokenizer, key: str) -> str:
    name = tokenizer.sidecars.config.get(key)
    content = name.get("content") if isinstance(name, dict) else name
    return content if isinstance(content, str) else ""
