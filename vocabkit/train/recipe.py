"""What decides the sequences of a token cache, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from vocabkit.copying import checksum_of
from vocabkit.corpus import open_corpus
from vocabkit.corpus.sources import STDIN
from vocabkit.errors import VocabkitError
from vocabkit.plugins import load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.start import eos_id, start_id

# Changes when the same text would give other sequences.
FORMAT = 1
# UTF-8 bytes of text in a shard: its sequences are shuffled together.
SHARD_BYTES = 4 << 20


@dataclass(frozen=True)
class Recipe:
    """What decides the sequences of a cache.

    specs: the corpus.  field, documents: how plain texts are read: "lines" or "files" are documents.
    template: None for text, else how instructions are written.
    """

    tokenizer: str
    specs: tuple[str, ...]
    block_size: int
    bos: bool = True
    eos: bool = True
    field: str = "text"
    documents: str = "lines"
    on_bad_text: str = "skip"
    template: str | None = None


def key_of(recipe: Recipe, tokenizer: Tokenizer | None = None) -> str:
    """Return the name of the cache: a hash of the recipe, the tokenizer's files and those of the corpus.

    tokenizer: that of the recipe, where it is open already.
    Raises VocabkitError when the corpus cannot be found, or is standard input.
    """
    if STDIN in recipe.specs:
        raise VocabkitError("text to train on is read more than once; write stdin to a file and name that")
    corpus = open_corpus(recipe.specs, registry=load_plugins(), field=recipe.field)
    tokenizer = tokenizer or open_tokenizer(recipe.tokenizer)
    content = json.dumps(tokenizer.json, sort_keys=True, ensure_ascii=False)
    parts = {
        **asdict(recipe),
        "format": FORMAT,
        "shard": SHARD_BYTES,
        "tokenizer": hashlib.sha256(content.encode()).hexdigest(),
        "chat template": str(tokenizer.sidecars.chat_template) if recipe.template else None,
        "marks": [start_id(tokenizer), eos_id(tokenizer)],
        # A file is what it holds; what a reader gives is what its name says.
        "files": [checksum_of(path) for path in corpus.files],
        "names": [name for name in corpus.names if not Path(name).is_file()],
    }
    parts.pop("specs")
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
