"""Read, convert and prepare SentencePiece ModelProto files."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from vocabkit.errors import TokenizerError
from vocabkit.tokenizer import hf_json
from vocabkit.tokenizer.base import SEPARATOR, NewToken, Spelling, Units
from vocabkit.tokenizer.folder import Sidecars

# ModelProto.SentencePiece.Type and TrainerSpec.ModelType, as sentencepiece_model.proto numbers them.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPECIAL = (UNKNOWN, CONTROL)
UNIGRAM_MODEL, BPE_MODEL = 1, 2
SPACE = "\u2581"


def read(path: Path) -> Any:
    """Parse a `tokenizer.model`; raises TokenizerError when it is not a SentencePiece model."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except (DecodeError, UnicodeDecodeError) as error:
        raise TokenizerError(
            f"{path} is not a SentencePiece model, or is damaged ({error}); fetch it again"
        ) from error
    if not proto.pieces or not proto.HasField("trainer_spec"):
        raise TokenizerError(f"{path} is not a SentencePiece model: it holds no pieces; fetch it again")
    processor(proto, path)
    return proto


def processor(proto: Any, path: Path | None = None) -> sentencepiece.SentencePieceProcessor:
    """Return a sentencepiece processor that runs `proto`."""
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    except RuntimeError as error:
        raise TokenizerError(f"sentencepiece refuses {path or 'the model'}: {error}; fetch it again") from error


def without_normalizer(proto: Any) -> Any:
    """Return a copy that segments its input as it stands: no prefix, no whitespace rules, no character map."""
    bare = copy.deepcopy(proto)
    spec = bare.normalizer_spec
    spec.name = "identity"
    spec.ClearField("precompiled_charsmap")
    spec.add_dummy_prefix = spec.remove_extra_whitespaces = spec.escape_whitespaces = False
    return bare


def bytes_by_id(proto: Any) -> list[bytes | None]:
    """Return the bytes that each piece stands for; None for unknown, control and unused pieces."""
    table: list[bytes | None] = []
    for piece in proto.pieces:
        if piece.type == BYTE:
            table.append(bytes([int(piece.piece[3:-1], 16)]))
        else:
            table.append(piece.piece.encode() if piece.type in (NORMAL, USER_DEFINED) else None)
    return table


@dataclass
class SentencePiecePreparer:
    """Turns text into what the model segments: its character map, then a mark for each space."""

    normalizer: bytes  # a serialised model that only normalises, b"" for the identity
    dummy_prefix: bool
    collapse: bool
    mark: str = SPACE

    @classmethod
    def of(cls, proto: Any) -> SentencePiecePreparer:
        spec = proto.normalizer_spec
        serialized = b"" if not spec.precompiled_charsmap else proto.SerializeToString()
        return cls(serialized, spec.add_dummy_prefix, spec.remove_extra_whitespaces)

    def __call__(self, text: str, starts: bool, lines: bool) -> str:
        if self.normalizer or self.collapse:
            text = "\n".join(self._normal(line) for line in text.split("\n")) if lines else self._normal(text)
        text = text.replace(" ", SPACE)
        if not self.dummy_prefix:
            return text
        if lines:
            text = text.replace("\n", "\n" + SPACE)
        return SPACE + text if starts else text

    def _normal(self, text: str) -> str:
        if self.normalizer:
            normal: str = self._processor.normalize(text)
            return normal.removeprefix(SPACE) if self.dummy_prefix else normal
        return re.sub(" +", " ", text.strip(" "))

    def __getstate__(self) -> dict[str, Any]:
        # A processor cannot be pickled; each worker makes its own.
        return {key: value for key, value in self.__dict__.items() if key != "_processor"}

    @cached_property
    def _processor(self) -> sentencepiece.SentencePieceProcessor:
        return sentencepiece.SentencePieceProcessor(model_proto=self.normalizer)


def units_around_unknown(proto: Any, bare: Any, spans: Sequence[str], size: int) -> Units:
    """Segment spans for a model without byte fallback: every character outside its pieces is a closed unit."""
    known = {p.piece for p in proto.pieces if p.type in (NORMAL, USER_DEFINED) and len(p.piece) == 1}
    unknown = sorted(set("".join(spans)) - known)
    index = {character: i for i, character in enumerate(unknown)}
    splitter = re.compile(f"([{re.escape(''.join(unknown))}])") if unknown else None
    parts = [(n, part) for n, s in enumerate(spans) for part in (splitter.split(s) if splitter else [s]) if part]
    encoded = iter(bare.encode([part for _, part in parts if part not in index]))
    flat: list[int] = []
    owner: list[int] = []
    previous = 0
    for number, part in parts:
        if number != previous:
            flat.append(SEPARATOR)
            owner.append(previous)
            previous = number
        ids = [size + index[part]] if part in index else next(encoded)
        flat += ids
        owner += [number] * len(ids)
    spellings = tuple(Spelling(c.encode(), (NewToken(c.encode(), (), 0),), saved=1) for c in unknown)
    return Units(np.asarray(flat, np.int32), np.asarray(owner, np.int32), spellings)


def from_json_bpe(data: dict[str, Any]) -> Any:
    """Return a model that segments as a SentencePiece-style tokenizer.json does, for learning only.

    A piece scores by the first merge that makes it; scores of single characters do not matter.
    """
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    vocab = hf_json.vocabulary(data)
    rank: dict[str, int] = {}
    for number, pair in enumerate(data["model"]["merges"]):
        left, right = pair if isinstance(pair, list) else pair.split(" ")
        rank.setdefault(left + right, number)
    specials = hf_json.added_tokens(data)
    unknown = data["model"].get("unk_token") or "<unk>"
    by_id = {token_id: token for token, token_id in vocab.items()}
    for token_id in range(max(by_id, default=-1) + 1):
        piece = proto.pieces.add()
        piece.piece = by_id.get(token_id, f"<unused {token_id}>")
        piece.score = -float(rank.get(piece.piece, len(rank)))
        piece.type = _kind_of(piece.piece, unknown, specials, unused=token_id not in by_id)
    spec = proto.trainer_spec
    spec.model_type = BPE_MODEL
    spec.byte_fallback = True
    spec.vocab_size = len(proto.pieces)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.remove_extra_whitespaces = False
    proto.normalizer_spec.add_dummy_prefix = _adds_prefix(data)
    return proto


def from_json_unigram(data: dict[str, Any]) -> Any:
    """Return a model that segments as a Unigram tokenizer.json does, for learning only.

    Its character map, if it has one, is SentencePiece's own.
    Raises TokenizerError when no token stands for unknown characters: SentencePiece needs one.
    """
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    model = data["model"]
    specials = hf_json.added_tokens(data)
    if model.get("unk_id") is None:
        raise TokenizerError("tokenizer.json has a Unigram model without unk_id; name the model's tokenizer.model")
    byte_fallback = bool(model.get("byte_fallback"))
    unknown = model["vocab"][model["unk_id"]][0]
    seen: set[str] = set()
    for token_id, (text, score) in enumerate(model["vocab"]):
        # SentencePiece refuses empty and repeated pieces; tokenizers never produces them.
        unused = not text or text in seen
        seen.add(text)
        piece = proto.pieces.add()
        piece.piece = f"<unused {token_id}>" if unused else text
        piece.score = score
        piece.type = _kind_of(piece.piece, unknown, specials, unused=unused)
        if piece.type == BYTE and not byte_fallback:
            piece.type = UNUSED
    spec = proto.trainer_spec
    spec.model_type = UNIGRAM_MODEL
    spec.byte_fallback = byte_fallback
    spec.vocab_size = len(proto.pieces)
    normalizer = json.dumps(data.get("normalizer"))
    charsmap = re.search('"precompiled_charsmap": "([^"]+)"', normalizer)
    proto.normalizer_spec.precompiled_charsmap = base64.b64decode(charsmap[1]) if charsmap else b""
    splits_words = "WhitespaceSplit" in json.dumps(data.get("pre_tokenizer"))
    proto.normalizer_spec.remove_extra_whitespaces = splits_words or '" {2,}"' in normalizer
    proto.normalizer_spec.add_dummy_prefix = _adds_prefix(data)
    return proto


def _adds_prefix(data: dict[str, Any]) -> bool:
    steps = json.dumps(data.get("normalizer")) + json.dumps(data.get("pre_tokenizer"))
    return '"Prepend"' in steps or ('"prepend_scheme": "never"' not in steps and "Metaspace" in steps)


_BYTE_PIECE = re.compile("<0x[0-9A-F]{2}>")


def _kind_of(piece: str, unknown: str, specials: Container[str], *, unused: bool) -> int:
    if piece == unknown:
        return UNKNOWN
    if _BYTE_PIECE.fullmatch(piece):
        return BYTE
    if unused:
        return UNUSED
    return CONTROL if piece in specials else NORMAL


def to_json(proto: Any, sidecars: Sidecars) -> dict[str, Any]:
    """Return the tokenizer.json that runs as `proto` does."""
    pieces = proto.pieces
    spec = proto.normalizer_spec
    unknown = next((i for i, p in enumerate(pieces) if p.type == UNKNOWN), None)
    bos = next((p.piece for p in pieces if p.type == CONTROL and p.piece == "<s>"), None)
    added = [
        hf_json.added_token(i, p.piece, special=True)
        if p.type in SPECIAL
        else hf_json.added_token(i, p.piece, special=False)
        for i, p in enumerate(pieces)
        if p.type in (*SPECIAL, USER_DEFINED)
    ]
    if proto.trainer_spec.model_type == BPE_MODEL:
        vocab = {p.piece: i for i, p in enumerate(pieces)}
        scores = {p.piece: p.score for p in pieces if p.type in (NORMAL, USER_DEFINED)}
        model: dict[str, Any] = {
            "type": "BPE",
            "dropout": None,
            "unk_token": None if unknown is None else pieces[unknown].piece,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": proto.trainer_spec.byte_fallback,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": _merges_by_score(scores, vocab),
        }
    else:
        model = {
            "type": "Unigram",
            "unk_id": unknown,
            "vocab": [[p.piece, p.score] for p in pieces],
            "byte_fallback": proto.trainer_spec.byte_fallback,
        }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(spec)},
        "pre_tokenizer": None,
        "post_processor": hf_json.bos_template(bos, next(i for i, p in enumerate(pieces) if p.piece == bos))
        if bos
        else None,
        "decoder": _decoder(spec, proto.trainer_spec.byte_fallback),
        "model": model,
    }


def _merges_by_score(scores: dict[str, float], vocab: dict[str, int]) -> list[list[str]]:
    # SentencePiece joins any two neighbours whose concatenation is a piece, best score first.  Equal scores
    # are ordered as transformers' converter orders them, so that what is shown here is what users get.
    merges = []
    for piece, score in scores.items():
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        local = [(left, right) for left, right in splits if left in vocab and right in vocab]
        local.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
        merges += [(score, len(left), len(right), left, right) for left, right in local]
    merges.sort(key=lambda merge: merge[:3], reverse=True)
    return [[left, right] for *_, left, right in merges]


def _normalizers(spec: Any) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if spec.precompiled_charsmap:
        charsmap = base64.b64encode(spec.precompiled_charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
    if spec.remove_extra_whitespaces:
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if spec.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    if spec.escape_whitespaces:
        steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    return steps


def _decoder(spec: Any, byte_fallback: bool) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}]
    steps += [{"type": "ByteFallback"}] if byte_fallback else []
    steps.append({"type": "Fuse"})
    if spec.add_dummy_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}
