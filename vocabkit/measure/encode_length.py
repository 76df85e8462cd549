"""How many tokens a text takes with each of several tokenizers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vocabkit.language import Language
from vocabkit.tokenizer.base import Tokenizer, chunks

LINES_PER_BATCH = 4096
_WORD = re.compile(r"\w")


@dataclass(frozen=True)
class EncodeLength:
    """One tokenizer on one text.

    byte_share: tokens that are a part of a character, of all tokens.
    new_tokens_used: new tokens that occur in the text, of all new tokens; None without a base to compare with.
    single_token_words: words that are one token, of all words; None without a segmenter.
    ratio: tokens, in units of the first tokenizer's on the same text.
    """

    tokenizer: str
    text: str
    tokens: int
    characters: int
    bytes: int
    tokens_per_character: float
    characters_per_token: float
    bytes_per_token: float
    byte_share: float
    new_tokens_used: float | None
    single_token_words: float | None
    segmenter: str | None
    ratio: float

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def encode_length(
    tokenizers: Sequence[tuple[str, Tokenizer, int | None]],
    texts: Iterable[tuple[str, Sequence[str]]],
    *,
    language: Language | None = None,
) -> list[EncodeLength]:
    """Return a row for each text and tokenizer, texts first.

    tokenizers: (name, tokenizer, first new id or None).  texts: (name, lines); line breaks are not counted.
    language: whose segmenter finds the words.
    """
    rows = []
    for text_name, lines in texts:
        words = _words(lines, language)
        first: int | None = None
        for name, tokenizer, first_new in tokenizers:
            row = _measure(name, tokenizer, first_new, text_name, lines, words, language, first)
            first = first or row.tokens
            rows.append(row)
    return rows


def _measure(
    name: str,
    tokenizer: Tokenizer,
    first_new: int | None,
    text_name: str,
    lines: Sequence[str],
    words: Sequence[str],
    language: Language | None,
    first: int | None,
) -> EncodeLength:
    counts: dict[int, int] = {}
    for batch in chunks(lines, LINES_PER_BATCH):
        for ids in tokenizer.encode(batch):
            for token_id in ids:
                counts[token_id] = counts.get(token_id, 0) + 1
    tokens = sum(counts.values())
    characters = sum(map(len, lines))
    size = sum(len(line.encode()) for line in lines)
    partial = sum(count for token_id, count in counts.items() if _is_partial(tokenizer.token_bytes(token_id)))
    new = None if first_new is None else tokenizer.size - first_new
    return EncodeLength(
        tokenizer=name,
        text=text_name,
        tokens=tokens,
        characters=characters,
        bytes=size,
        tokens_per_character=_ratio(tokens, characters),
        characters_per_token=_ratio(characters, tokens),
        bytes_per_token=_ratio(size, tokens),
        byte_share=_ratio(partial, tokens),
        new_tokens_used=_ratio(sum(i >= (first_new or 0) for i in counts), new) if new else None,
        single_token_words=_single(tokenizer, words) if words else None,
        segmenter=language.segmenter if words and language else None,
        ratio=_ratio(tokens, first or tokens),
    )


def _words(lines: Sequence[str], language: Language | None) -> list[str]:
    if language is None or language.segment is None:
        return []
    return [word for line in lines for word in language.run("segment", line) if _WORD.search(word)]


def _single(tokenizer: Tokenizer, words: Sequence[str]) -> float:
    mark = tokenizer.preparer().mark
    distinct = sorted(set(words))
    bare = [word.strip().replace(" ", mark).encode() for word in distinct]
    is_single = {word: len(ids) == 1 for word, ids in zip(distinct, tokenizer.encode_bare(bare), strict=True)}
    return sum(is_single[word] for word in words) / len(words)


def _is_partial(token: bytes | None) -> bool:
    if token is None:
        return False
    try:
        token.decode()
    except UnicodeDecodeError:
        return True
    return False


def _ratio(part: float, whole: float | None) -> float:
    return round(part / whole, 4) if whole else 0.0
