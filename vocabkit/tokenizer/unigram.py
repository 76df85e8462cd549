"""Unigram tokenizers (T5, XLM-R, ALBERT), as tokenizer.model, tokenizer.json or both."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.tokenizer import hf_json, model_proto
from vocabkit.tokenizer.base import NewToken
from vocabkit.tokenizer.folder import Sidecars
from vocabkit.tokenizer.model_proto import CONTROL, NORMAL, UNUSED, USER_DEFINED
from vocabkit.tokenizer.sentencepiece_tokenizer import SentencePieceTokenizer

# What a new piece wins, in nats, for each old piece it saves: more flips choices that were near ties, less drowns
# in sentencepiece's float32 sums.  Held-out Chinese lines (base 20,000 pieces, +2,000) that are cut where the base
# does not cut, in 10,000: 196 at 0.3, 56 at 0.1, 11 at 0.03; at 0.01 none of 20,000 but exact ties of the base.
BONUS = 0.01
# 我们|的 and 我|们的 save as many pieces: each token adds a share of SPREAD, so that the two sums differ.  Of 250
# documents of 3,500 characters, sentencepiece and tokenizers cut 25 differently at 0.01, 11 at 0.015 (the base 1),
# 8 at 0.02, where the first line is cut anew; +8,000 tokens: 55, 40, 38.
SPREAD = 0.015
LEVELS = 4
# unigram_model.cc, kUnkPenalty; tokenizers has the same constant.
UNKNOWN_PENALTY = 10.0


class Unigram(SentencePieceTokenizer):
    """A Unigram model: of all ways to cut a text into pieces, it takes the one with the greatest sum of scores.

    A tokenizer.model that numbers its pieces otherwise than tokenizer.json (XLM-R) is left aside.
    """

    family = "unigram"

    def __init__(
        self,
        source: Path,
        proto: Any,
        json: dict[str, Any] | None,
        sidecars: Sidecars,
        *,
        has_model: bool = True,
    ):
        if json is not None and has_model and not _same_ids(proto, json):
            proto, has_model = model_proto.from_json_unigram(json), False
        super().__init__(source, proto, json, sidecars, has_model=has_model)

    def joins_anything(self) -> bool:
        return False

    def extended(self, tokens: Sequence[NewToken]) -> Unigram:
        """Append pieces whose scores make them win only where all the old pieces they replace won before."""
        proto, json = self._filled()
        old = {p.piece: p.score for p in proto.pieces if p.type in (NORMAL, USER_DEFINED)}
        scores = new_scores(old, tokens)
        for token, score in zip(tokens, scores, strict=True):
            piece = proto.pieces.add()
            piece.piece, piece.score, piece.type = token.token.decode(), score, NORMAL
            json["model"]["vocab"].append([piece.piece, score])
        proto.trainer_spec.vocab_size = len(proto.pieces)
        return Unigram(self.source, proto, json, self.sidecars, has_model=self.has_model)

    def with_special_tokens(self, names: Sequence[str]) -> Unigram:
        proto, json = self._filled()
        for name in names:
            proto.pieces.add(piece=name, score=0.0, type=CONTROL)
        proto.trainer_spec.vocab_size = len(proto.pieces)
        json = hf_json.with_special_tokens(json, names, first_id=self.size)
        return Unigram(self.source, proto, json, self.sidecars, has_model=self.has_model)

    def _filled(self) -> tuple[Any, dict[str, Any]]:
        """Return copies of model and tokenizer.json in which every id below `size` has an entry.

        tokenizers numbers an added token by its place in the vocabulary, or after the vocabulary's end, whatever
        id the file gives: appending pieces would move <mask> (XLM-R) and <extra_id_0> (T5).
        """
        proto = copy.deepcopy(self.proto)
        vocab = list(self.json["model"]["vocab"])
        names = {token_id: name for name, token_id in self.id_table.items()}
        for token_id in range(min(len(vocab), len(proto.pieces)), self.size):
            # A plain space never reaches the model, so this name is in no text.
            name = names.get(token_id, f"<unused {token_id}>")
            if token_id >= len(proto.pieces):
                proto.pieces.add(piece=name, score=0.0, type=CONTROL if token_id in names else UNUSED)
            if token_id >= len(vocab):
                vocab.append([name, 0.0])  # as transformers' converter writes them
        return proto, {**self.json, "model": {**self.json["model"], "vocab": vocab}}


def new_scores(old: Mapping[str, float], tokens: Sequence[NewToken]) -> list[float]:
    """Return a float32 score for each token; distinct among themselves and from every score in `old`.

    A new piece scores as the best split of its text into old pieces does, plus BONUS for each piece saved, plus
    its share of SPREAD; and always enough to beat every split into pieces old and new.  So every new path is an
    old path plus some hundredths, and the old winner still wins unless another was nearer than that.  A character
    that was unknown gets the old minimum: there is no other way to cut it.

    The unknown score is the minimum less 10, and new scores are below the old minimum.  That decides nothing when
    each character of each old piece is a piece too: a character without a piece is then in no piece, and
    is unknown on every path.  When this does not hold, no score goes below the old minimum.
    """
    floor = min(old.values(), default=0.0)
    lowest = -np.inf if _characters_are_pieces(old) else floor
    taken = set(old.values())
    texts = [token.token.decode() for token in tokens]
    scores = dict(old)
    score = floor
    for text in texts:
        if len(text) == 1:
            scores[text] = score = _distinct(score, taken)
    atoms = dict(scores)
    splits = [_best_split(text, atoms, floor - UNKNOWN_PENALTY) for text in texts]
    levels = _levels([parts for _, parts in splits], [token.count for token in tokens])
    # Short ones first: whatever a piece can be split into has its score then.
    for i in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        if len(texts[i]) > 1:
            score, parts = splits[i]
            # Within a level earlier tokens are better, by less than half the way to the next one.
            share = (levels[i] + 0.5 * (1 - i / len(texts))) / LEVELS
            score += BONUS * (len(parts) - 1) + SPREAD * share
            rival, _ = _best_split(texts[i], scores, floor - UNKNOWN_PENALTY)
            scores[texts[i]] = _distinct(max(score, rival + SPREAD / LEVELS, lowest), taken)
    return [scores[text] for text in texts]


def _best_split(text: str, scores: Mapping[str, float], unknown: float) -> tuple[float, list[str]]:
    """Return the best way to cut `text` into pieces, and its score."""
    best = [0.0] + [-np.inf] * len(text)
    starts = [0] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        for start in range(end):
            score = scores.get(text[start:end], unknown if end - start == 1 else -np.inf)
            if best[start] + score > best[end]:
                best[end], starts[end] = best[start] + score, start
    parts: list[str] = []
    end = len(text)
    while end:
        parts.insert(0, text[starts[end] : end])
        end = starts[end]
    return best[-1], parts


def _levels(splits: Sequence[Sequence[str]], counts: Sequence[int]) -> list[int]:
    """Return a level for each token, so that tokens which can overlap in a text seldom share one.

    Two paths that save equally many pieces differ only by their levels.  Left to rounding, sentencepiece
    (float32) and tokenizers (float64) would choose differently.  Greedy, frequent tokens weigh more.
    """
    ending: dict[tuple[str, ...], NDArray[np.int64]] = defaultdict(lambda: np.zeros(LEVELS, np.int64))
    beginning: dict[tuple[str, ...], NDArray[np.int64]] = defaultdict(lambda: np.zeros(LEVELS, np.int64))
    levels = []
    for parts, count in zip(splits, counts, strict=True):
        overlaps = range(1, len(parts))
        heads = [tuple(parts[:n]) for n in overlaps]
        tails = [tuple(parts[-n:]) for n in overlaps]
        cost = np.zeros(LEVELS, np.int64)
        for head, tail in zip(heads, tails, strict=True):
            cost += ending[head] + beginning[tail]
        level = int(np.argmin(cost))
        levels.append(level)
        for head, tail in zip(heads, tails, strict=True):
            beginning[head][level] += count + 1
            ending[tail][level] += count + 1
    return levels


def _distinct(score: float, taken: set[float]) -> float:
    """Return the first float32 from `score` upwards that is not taken yet, and take it."""
    rounded = np.float32(score)
    while float(rounded) in taken:
        rounded = np.nextafter(rounded, np.float32(np.inf))
    taken.add(float(rounded))
    return float(rounded)


def _characters_are_pieces(pieces: Mapping[str, float]) -> bool:
    return all(character in pieces for piece in pieces for character in piece)


def _same_ids(proto: Any, json: dict[str, Any]) -> bool:
    """Return whether tokenizer.json has every piece of `proto` at its id."""
    vocab = json["model"]["vocab"]
    return len(vocab) >= len(proto.pieces) and all(
        row[0] == piece.piece for row, piece in zip(vocab, proto.pieces, strict=False)
    )
