"""Learn new tokens for a language from counted spans of text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from vocabkit.errors import TooLittleTextError, VocabkitError
from vocabkit.language import Language
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.continued_bpe import learn_merges
from vocabkit.vocabulary.spans import TokenRules


def learn(
    base: Tokenizer,
    language: Language,
    spans: Mapping[str, int],
    *,
    size: int,
    max_length: int = 16,
    min_count: int = 2,
    bridges: bool = True,
    refused: Collection[bytes] = frozenset(),
    progress: Callable[[int], None] | None = None,
) -> list[NewToken]:
    """Return `size` new tokens in learning order, by continued BPE on the base's segmentation of `spans`.

    spans: prepared span -> occurrences, as `SpanCutter` cuts them.
    max_length: characters in a token, the word-boundary mark not counted.
    bridges: whether beginnings of characters may be learned where the base spells a character with three tokens.
    refused: tokens that may not be learned, nor be parts of others.
    Raises TooLittleTextError when the spans do not support that many tokens.
    """
    if not spans:
        raise VocabkitError(
            f"the corpus holds no {language.name} text; check --lang {language.code} and the files given to --corpus"
        )
    learned = learn_at_most(
        base, language, spans, size=size, max_length=max_length, min_count=min_count, bridges=bridges,
        refused=refused, progress=progress,
    )  # fmt: skip
    if len(learned) < size:
        more = ", or allow more with --max-drift" if refused else ""
        raise TooLittleTextError(
            f"the corpus supports only {len(learned):,} of the {size:,} tokens asked for (each must occur at least "
            f"{min_count} times); use --size {len(learned)} or add text with --corpus{more}",
            len(learned),
        )
    return learned


def learn_at_most(
    base: Tokenizer,
    language: Language,
    spans: Mapping[str, int],
    *,
    size: int,
    max_length: int = 16,
    min_count: int = 2,
    bridges: bool = True,
    refused: Collection[bytes] = frozenset(),
    progress: Callable[[int], None] | None = None,
) -> list[NewToken]:
    """Return as many new tokens as the spans support, up to `size`; arguments as of `learn`."""
    rules = TokenRules(language, base.preparer().mark, frozenset(base.special_tokens), max_length, bridges)
    return learn_merges(
        base,
        base.units(list(spans)),
        np.fromiter(spans.values(), np.int64, len(spans)),
        size=size,
        may_learn=lambda token: token not in refused and rules(token),
        min_count=min_count,
        progress=progress,
    )
