"""Which tokens can be produced from their own text, and which never are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_alphabet import is_text


@dataclass(frozen=True)
class Reach:
    """What was asked, and the ids that no text gives.

    dead: ids, whole characters first.  whole: tokens of whole characters.  beginnings: tokens that are parts of one.
    """

    dead: tuple[int, ...]
    whole: int
    beginnings: int

    @property
    def asked(self) -> int:
        """How many tokens were asked."""
        return self.whole + self.beginnings


def reach(tokenizer: Tokenizer, ids: Iterable[int], *, beginnings: bool = True) -> Reach:
    """Encode each token's own text, as it stands in the middle of a text, and see whether it comes back.

    beginnings: also ask tokens that are the beginning of a character, by all characters that begin so; a
    thousand encodings each.  Special and unused ids are not asked.
    """
    tokens = {i: tokenizer.token_bytes(i) for i in ids}
    whole = {i: token for i, token in tokens.items() if token is not None and is_text(token)}
    partial = (
        {i: token for i, token in tokens.items() if token is not None and not is_text(token)} if beginnings else {}
    )
    encoded = tokenizer.encode_bare(list(whole.values()))
    dead = [i for i, produced in zip(whole, encoded, strict=True) if produced != [i]]
    dead += [i for i, token in partial.items() if not _begins_a_character(tokenizer, i, token)]
    return Reach(tuple(dead), len(whole), len(partial))


def _begins_a_character(tokenizer: Tokenizer, token_id: int, token: bytes) -> bool:
    """Return whether some character that begins with `token` is encoded with it."""
    for length in range(1, 4 - len(token) + 1):
        tails = [b""]
        for _ in range(length):
            tails = [tail + bytes([byte]) for tail in tails for byte in range(0x80, 0xC0)][: 64 * 64]
        whole = [token + tail for tail in tails if is_text(token + tail)]
        if any(token_id in ids for ids in tokenizer.encode_bare(whole)):
            return True
    return False
