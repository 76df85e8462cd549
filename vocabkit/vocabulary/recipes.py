"""Published recipes, reproduced to the byte so that they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vocabkit.errors import UnknownNameError, VocabkitError
from vocabkit.language import Language
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.vocabulary.merge import Merged, union
from vocabkit.vocabulary.vocabulary_file import Vocabulary


def chinese_llama(add_special: Sequence[str]) -> Callable[[Tokenizer, Vocabulary, Language], Merged]:
    """Return the merger of Chinese-LLaMA and Chinese-Alpaca (arXiv 2304.08177).

    The pieces of the Chinese model that LLaMA lacks are appended with score 0, special tokens after them as
    ordinary pieces, and nothing else in the file is touched, not even the vocabulary size it states.
    """

    def merge(base: Tokenizer, vocabulary: Vocabulary, language: Language) -> Merged:
        if vocabulary.pieces is None:
            raise VocabkitError("the recipe chinese-llama merges a SentencePiece model; name it with --vocabulary")
        return union(base, Vocabulary(pieces=(*vocabulary.pieces, *add_special)), language)

    return merge


RECIPES = {"chinese-llama": chinese_llama}


def find_recipe(name: str) -> Callable[[Sequence[str]], Callable[[Tokenizer, Vocabulary, Language], Merged]]:
    """Return the recipe called `name`; raises UnknownNameError."""
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name]
