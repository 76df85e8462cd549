"""SentencePiece BPE tokenizers (LLaMA-1/2, Mistral v1, Yi, Gemma), as tokenizer.model, tokenizer.json or both."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from vocabkit.errors import TokenizerError
from vocabkit.tokenizer import hf_json, model_proto
from vocabkit.tokenizer.base import NewToken
from vocabkit.tokenizer.model_proto import BYTE, NORMAL
from vocabkit.tokenizer.sentencepiece_tokenizer import SentencePieceTokenizer


class SentencePieceBpe(SentencePieceTokenizer):
    """A SentencePiece BPE model."""

    family = "sentencepiece_bpe"

    def joins_anything(self) -> bool:
        return True

    def extended(self, tokens: Sequence[NewToken]) -> SentencePieceBpe:
        """Append pieces with distinct float32 scores below every old one, and the merges that reach them."""
        proto = copy.deepcopy(self.proto)
        scores = scores_below([piece.score for piece in proto.pieces if piece.type != BYTE], len(tokens))
        for token, score in zip(tokens, scores, strict=True):
            piece = proto.pieces.add()
            piece.piece, piece.score, piece.type = token.token.decode(), score, NORMAL
        proto.trainer_spec.vocab_size = len(proto.pieces)
        pieces = [token.token.decode() for token in tokens]
        json = hf_json.with_tokens(self.json, pieces, first_id=self.size, join_old=True)
        return SentencePieceBpe(self.source, proto, json, self.sidecars, has_model=self.has_model)

    def with_special_tokens(self, names: Sequence[str]) -> SentencePieceBpe:
        proto = copy.deepcopy(self.proto)
        for name in names:
            piece = proto.pieces.add()
            piece.piece, piece.score, piece.type = name, 0.0, model_proto.CONTROL
        proto.trainer_spec.vocab_size = len(proto.pieces)
        json = hf_json.with_special_tokens(self.json, names, first_id=self.size)
        return SentencePieceBpe(self.source, proto, json, self.sidecars, has_model=self.has_model)


def scores_below(old: Sequence[float], number: int) -> list[float]:
    """Return `number` float32 scores, all distinct, falling, and below every score in `old`.

    LLaMA's whitespace runs have score -1e9, where float32 is 64 apart: the step grows to fit.
    """
    floor = min(old, default=0.0)
    step = 1.0
    while step < 2 * float(np.spacing(np.float32(abs(floor) + step * (number + 1)))):
        step *= 2
    scores = np.float32(floor) - np.float32(step) * np.arange(1, number + 1, dtype=np.float32)
    if len(np.unique(scores)) != number or (number and not scores[0] < np.float32(floor)):
        raise TokenizerError(f"no {number:,} distinct scores fit below {floor:g}; learn fewer tokens with --size")
    return [float(score) for score in scores]
