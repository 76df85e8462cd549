"""What the SentencePiece families share: running, reading and writing a model and its tokenizer.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from tokenizers import Tokenizer as HfTokenizer

from vocabkit.tokenizer import hf_json, model_proto
from vocabkit.tokenizer.base import SEPARATOR, NewToken, Spelling, Units
from vocabkit.tokenizer.folder import Sidecars
from vocabkit.tokenizer.model_proto import BYTE, NORMAL, SentencePiecePreparer


class SentencePieceTokenizer:
    """A SentencePiece model of any family; how it grows is its subclass's business.

    proto: the parsed `tokenizer.model`, or one rebuilt from `tokenizer.json` when that is all there is.
    json: the parsed `tokenizer.json`, or one converted from `proto`.
    has_model: whether a `tokenizer.model` belongs to the tokenizer, so that saving writes one.
    """

    def __init__(
        self,
        source: Path,
        proto: Any,
        json: dict[str, Any] | None,
        sidecars: Sidecars,
        *,
        has_model: bool = True,
    ):
        self.source = source
        self.proto = proto
        self.has_model = has_model
        self.sidecars = sidecars
        self.json = model_proto.to_json(proto, sidecars) if json is None else json
        self.size = max(len(proto.pieces), hf_json.size(self.json))
        self.padded_size = max(self.size, sidecars.vocab_size or 0)

    @cached_property
    def special_tokens(self) -> Mapping[str, int]:
        specials = {p.piece: i for i, p in enumerate(self.proto.pieces) if p.type in model_proto.SPECIAL}
        return specials | hf_json.added_tokens(self.json)

    @cached_property
    def id_table(self) -> Mapping[str, int]:
        pieces = {piece.piece: token_id for token_id, piece in enumerate(self.proto.pieces)}
        return pieces | hf_json.vocabulary(self.json) | hf_json.added_tokens(self.json)

    @cached_property
    def engines(self) -> dict[str, Callable[[Sequence[str]], list[list[int]]]]:
        """Every implementation that can run this tokenizer, by name: text -> ids without BOS."""
        engines: dict[str, Callable[[Sequence[str]], list[list[int]]]] = {}
        if self.has_model:
            engines["sentencepiece"] = lambda texts: self._processor.encode(list(texts))
        engines["tokenizers"] = lambda texts: hf_json.encode(self.hf, texts)
        return engines

    @cached_property
    def hf(self) -> HfTokenizer:
        return hf_json.build(self.json, self.source)

    @cached_property
    def _processor(self) -> sentencepiece.SentencePieceProcessor:
        return model_proto.processor(self.proto)

    @cached_property
    def _bare_processor(self) -> sentencepiece.SentencePieceProcessor:
        return model_proto.processor(model_proto.without_normalizer(self.proto))

    @cached_property
    def _bytes(self) -> list[bytes | None]:
        table = model_proto.bytes_by_id(self.proto)
        return table + [None] * (self.size - len(table))

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        pieces = self.proto.pieces
        return {p.piece.encode(): i for i, p in enumerate(pieces) if p.type in (NORMAL, model_proto.USER_DEFINED)}

    def token_bytes(self, token_id: int) -> bytes | None:
        return self._bytes[token_id]

    def find(self, token: bytes) -> int | None:
        return self._ids.get(token)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return next(iter(self.engines.values()))(texts)

    def encode_bare(self, tokens: Sequence[bytes]) -> list[list[int]]:
        result: list[list[int]] = self._bare_processor.encode([token.decode() for token in tokens])
        return result

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        if self.has_model:
            result: list[str] = self._processor.decode([list(line) for line in ids])
            return result
        return self.hf.decode_batch([list(line) for line in ids], skip_special_tokens=False)

    def preparer(self) -> SentencePiecePreparer:
        return SentencePiecePreparer.of(self.proto)

    def units(self, spans: Sequence[str]) -> Units:
        """Segment prepared spans; a character in byte pieces, or unknown, becomes one closed unit."""
        if self.proto.trainer_spec.byte_fallback:
            flat, span = _flatten(self._bare_processor, spans)
            return self._with_characters_for_bytes(flat, span)
        return model_proto.units_around_unknown(self.proto, self._bare_processor, spans, self.size)

    def _with_characters_for_bytes(self, flat: NDArray[np.int32], span: NDArray[np.int32]) -> Units:
        byte_of = np.full(self.size + 1, -1, np.int32)
        for token_id, piece in enumerate(self.proto.pieces):
            if piece.type == BYTE:
                byte_of[token_id] = int(piece.piece[3:-1], 16)
        value = byte_of[flat]  # SEPARATOR reads the last entry, -1
        is_lead = (value >= 0) & ((value < 0x80) | (value >= 0xC0))
        ids = flat.copy()
        leads = np.flatnonzero(is_lead)
        code_points = _code_points(value, leads)
        distinct, which = np.unique(code_points, return_inverse=True)
        ids[leads] = self.size + which
        keep = (value < 0) | is_lead
        spellings = tuple(_character(chr(c)) for c in distinct.tolist())
        return Units(ids[keep], span[keep], spellings)

    def save(self, folder: Path) -> None:
        hf_json.write(self.json, folder / "tokenizer.json")
        if self.has_model:
            (folder / "tokenizer.model").write_bytes(self.proto.SerializeToString())
        self.sidecars.save(folder, self.proto)


def _flatten(processor: Any, spans: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the ids of all spans in one array, a SEPARATOR after each, and the span index of each position."""
    flat: list[int] = []
    lengths: list[int] = []
    for ids in processor.encode(list(spans)):
        flat += ids
        flat.append(SEPARATOR)
        lengths.append(len(ids) + 1)
    span = np.repeat(np.arange(len(spans), dtype=np.int32), lengths)
    return np.asarray(flat, np.int32), span


def _code_points(value: NDArray[np.int32], leads: NDArray[np.intp]) -> NDArray[np.int32]:
    """Decode the UTF-8 sequences that begin at `leads` in an array of byte values."""
    padded = np.concatenate([value, np.zeros(4, np.int32)])
    first = padded[leads]
    rest = [padded[leads + offset] & 0x3F for offset in (1, 2, 3)]
    two = (first & 0x1F) << 6 | rest[0]
    three = (first & 0x0F) << 12 | rest[0] << 6 | rest[1]
    four = (first & 0x07) << 18 | rest[0] << 12 | rest[1] << 6 | rest[2]
    return np.select([first < 0x80, first < 0xE0, first < 0xF0], [first, two, three], four).astype(np.int32)


def _character(character: str) -> Spelling:
    token = character.encode()
    return Spelling(token, (NewToken(token, (), 0),), saved=max(1, len(token) - 1))
