"""Put new tokens into a base tokenizer: the mergers `ranked` and `union`."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from vocabkit.errors import VocabkitError
from vocabkit.language import Language
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.tokenizer.sentencepiece_bpe import SentencePieceBpe
from vocabkit.vocabulary.vocabulary_file import Vocabulary


@dataclass(frozen=True)
class Merged:
    """What a merger made.

    tokenizer: the extended tokenizer.  added: the new tokens, in id order.
    bridges: tokens added only so that others can be produced.  dropped: pieces left out -> why.
    """

    tokenizer: Tokenizer
    added: tuple[NewToken, ...]
    bridges: tuple[str, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)


def ranked(base: Tokenizer, vocabulary: Vocabulary, language: Language) -> Merged:
    """Append learned tokens, each ranked below everything before it, so that no old choice can change.

    Raises VocabkitError for a vocabulary that was learned on another base, or not by vocabkit.
    """
    if vocabulary.pieces is not None:
        raise VocabkitError(f"{vocabulary.source} was not learned on this base; merge it with --merger bridge")
    known: set[bytes] = set()
    for token in vocabulary.tokens:
        missing = [part for part in token.parts if part not in known and base.find(part) is None]
        if missing or base.find(token.token) is not None:
            raise VocabkitError(
                f"{vocabulary.source or 'the vocabulary'} was learned on another base: {token.text!r} does not fit "
                f"{base.source}; learn it again with `vocabkit learn --base {base.source}`"
            )
        known.add(token.token)
    bridges = tuple(token.text for token in vocabulary.tokens if token.is_bridge)
    return Merged(base.extended(vocabulary.tokens), vocabulary.tokens, bridges)


def union(base: Tokenizer, vocabulary: Vocabulary, language: Language) -> Merged:
    """Append every piece that the base lacks, with score 0: the rule of Chinese-LLaMA (arXiv 2304.08177).

    Kept for comparison.  It makes pieces that can never be produced and changes how old text is segmented;
    `vocabkit verify` says how many.
    """
    if not isinstance(base, SentencePieceBpe) or not base.has_model:
        raise VocabkitError(f"--merger union needs a SentencePiece BPE base with its .model; {base.source} has none")
    pieces = vocabulary.pieces
    if pieces is None:
        pieces = tuple(token.text for token in vocabulary.tokens)
    proto = copy.deepcopy(base.proto)
    known = {piece.piece for piece in proto.pieces}
    added = []
    for text in pieces:
        if text not in known:
            piece = proto.pieces.add()
            piece.piece, piece.score = text, 0.0
            known.add(text)
            added.append(NewToken(text.encode(), (), 0))
    return Merged(SentencePieceBpe(base.source, proto, None, base.sidecars), tuple(added))
