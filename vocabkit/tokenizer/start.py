"""What a document begins after."""

from __future__ import annotations

from vocabkit.tokenizer.base import Tokenizer

# In this order: BOS, what separates documents in training, and EOS.
STARTS = ("<s>", "<|begin_of_text|>", "<bos>", "<|endoftext|>", "<|im_start|>", "</s>", "<|im_end|>")


def start_id(tokenizer: Tokenizer) -> int:
    """Return the id that a document begins after: the configured BOS, else what separates documents."""
    named = [tokenizer.sidecars.config.get(key) for key in ("bos_token", "eos_token")]
    contents = [name.get("content") if isinstance(name, dict) else name for name in named]
    for token in (contents[0], *STARTS[:4], contents[1], *STARTS[4:]):
        if token is not None and token in tokenizer.id_table:
            return tokenizer.id_table[token]
    return 0
