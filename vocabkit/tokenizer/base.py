"""What every tokenizer family can do, as one protocol, and the new tokens that travel between stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vocabkit.tokenizer.byte_alphabet import readable
from vocabkit.tokenizer.folder import Sidecars

# Between spans, and where the base tokenizer itself cuts: nothing is ever merged across it.
SEPARATOR = -1


@dataclass(frozen=True, slots=True)
class NewToken:
    """A learned token.

    token: its UTF-8 bytes; whole characters, except for a bridge (see `is_bridge`).
    parts: the two tokens it is merged from, or () for a character that the base spells with byte pieces.
    count: how often it was merged in the corpus when it was learned.
    """

    token: bytes
    parts: tuple[bytes, ...]
    count: int

    @property
    def text(self) -> str:
        """The token as text, bytes that are not UTF-8 as <0xE4>."""
        return readable(self.token)

    @property
    def is_bridge(self) -> bool:
        """Whether the token is the beginning of a character, kept only so that the character can be merged."""
        try:
            self.token.decode()
        except UnicodeDecodeError:
            return True
        return False


@dataclass(frozen=True)
class Spelling:
    """A character (or a few) that the base spells with several tokens, so it cannot be joined to others yet.

    token: its UTF-8 bytes.
    steps: the tokens to add, in order, until it is one token; the last one is `token`.
    saved: how many tokens each step saves per occurrence.
    """

    token: bytes
    steps: tuple[NewToken, ...]
    saved: int


@dataclass(frozen=True)
class Units:
    """Spans as the base segments them, ready for learning.

    ids: [P] int32.  SEPARATOR, or a base token id, or `size + i` for `spellings[i]`.
    span: [P] int32, the index of the span that each position came from.
    """

    ids: NDArray[np.int32]
    span: NDArray[np.int32]
    spellings: tuple[Spelling, ...]


class Preparer(Protocol):
    """Turns raw text into the text that spans are cut from; picklable, for worker processes."""

    @property
    def mark(self) -> str:
        """The word-boundary mark as prepared text has it: "▁" or a space."""
        ...

    def __call__(self, text: str, starts: bool, lines: bool) -> str:
        """Prepare a text that begins a document (`starts`), or many, one on each line (`lines`)."""
        ...


class Tokenizer(Protocol):
    """An opened base tokenizer, or an extended one that is not written yet.

    family: "sentencepiece_bpe", "byte_level_bpe" or "unigram".
    source: where it was opened from.
    size: the number of ids; new tokens start here.
    padded_size: rows of the embedding matrix as the model's config says, `size` when there is no config.
    special_tokens: content -> id of control and added tokens.
    id_table: every token, as its files spell it -> id.
    engines: every implementation that can run it -> texts to ids without BOS; "tokenizers" is always there.
    json: its tokenizer.json.  sidecars: the files beside it.
    """

    family: str
    source: Path
    size: int
    padded_size: int
    json: dict[str, Any]
    sidecars: Sidecars

    @property
    def special_tokens(self) -> Mapping[str, int]: ...

    @property
    def id_table(self) -> Mapping[str, int]: ...

    @property
    def engines(self) -> Mapping[str, Callable[[Sequence[str]], list[list[int]]]]: ...

    def token_bytes(self, token_id: int) -> bytes | None:
        """Return the bytes that an ordinary token stands for, None for special, unknown and unused ids."""
        ...

    def find(self, token: bytes) -> int | None:
        """Return the id of the ordinary token that stands for `token`, if there is one."""
        ...

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, without BOS or EOS."""
        ...

    def encode_bare(self, tokens: Sequence[bytes]) -> list[list[int]]:
        """Return the ids of each token's own bytes, as if it stood in the middle of a text."""
        ...

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each list of ids."""
        ...

    def preparer(self) -> Preparer:
        """Return the normalisation that comes before segmentation, for cutting spans from raw text."""
        ...

    def units(self, spans: Sequence[str]) -> Units:
        """Segment prepared spans."""
        ...

    def joins_anything(self) -> bool:
        """Whether any two neighbours that spell a token together are merged (SentencePiece), or listed pairs only."""
        ...

    def extended(self, tokens: Sequence[NewToken]) -> Tokenizer:
        """Return a tokenizer with `tokens` appended, each ranked below everything before it."""
        ...

    def with_special_tokens(self, names: Sequence[str]) -> Tokenizer:
        """Return a tokenizer with `names` appended as special tokens, never produced from parts of text."""
        ...

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into an existing folder."""
        ...


def chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield slices of `items` of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
