"""The new tokens of an extended tokenizer, one by one: what each replaces, and whether it can be produced at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.tokenizer.byte_alphabet import is_text
from vocabkit.tokenizer.reach import reach


@dataclass(frozen=True, slots=True)
class NewTokenFacts:
    """One new token.

    token: its bytes; a special token's name.  replaces: ids of the base's pieces for the same bytes.
    count: how often it was merged when it was learned, None when nobody recorded it.
    uses: how often it stands in the texts.  is_dead: it can never be produced.
    """

    id: int
    token: bytes
    replaces: tuple[int, ...]
    count: int | None
    uses: int
    is_dead: bool
    is_special: bool = False


def describe(
    base: Tokenizer, candidate: Tokenizer, learned: Sequence[NewToken], lines: Sequence[str]
) -> list[NewTokenFacts]:
    """Return what is known of every new token, in the order of ids.

    learned: tokens as they were learned, with their counts; may be empty.  lines: texts in which uses are counted.
    """
    counts = {token.token: token.count for token in learned if token.count}
    uses = Counter(token_id for ids in candidate.encode(lines) for token_id in ids if token_id >= base.size)
    tokens = {i: candidate.token_bytes(i) for i in range(base.size, candidate.size)}
    names = {token_id: name for name, token_id in candidate.id_table.items()}
    dead = set(reach(candidate, tokens).dead)
    whole = [token for token in tokens.values() if token is not None and is_text(token)]
    pieces = dict(zip(whole, map(tuple, base.encode_bare(whole)), strict=True))
    parts = {token.token: token.parts for token in learned}
    return [
        NewTokenFacts(token_id, names.get(token_id, "").encode(), (), None, uses[token_id], False, is_special=True)
        if token is None
        else NewTokenFacts(
            token_id,
            token,
            pieces.get(token) or _spelled(base, token, parts),
            counts.get(token),
            uses[token_id],
            token_id in dead,
        )
        for token_id, token in tokens.items()
    ]


def _spelled(base: Tokenizer, token: bytes, parts: Mapping[bytes, tuple[bytes, ...]]) -> tuple[int, ...]:
    """Return the base's pieces of what no text can be by itself, a character's beginning."""
    found = base.find(token)
    if found is not None:
        return (found,)
    smaller = parts.get(token) or (tuple(bytes([byte]) for byte in token) if len(token) > 1 else ())
    return tuple(piece for part in smaller for piece in _spelled(base, part, parts))
