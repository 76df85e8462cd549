"""Put a foreign vocabulary into a base: pieces are never pasted, each gets the merges that can produce it.

A piece that takes three or more tokens needs tokens in between ("bridges").  One that is a piece of the foreign
vocabulary itself costs nothing; any other costs a row, so a piece that needs more than `MAX_BRIDGES` of those
is dropped, and listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from vocabkit.errors import VocabkitError
from vocabkit.language import Language
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.merge import Merged
from vocabkit.vocabulary.spans import TokenRules
from vocabkit.vocabulary.vocabulary_file import WORD_BOUNDARY, Vocabulary

# A bridge is worth its row when it opens at least one piece; two for one piece is a bad bargain.
MAX_BRIDGES = 1
MAX_LENGTH = 16


def bridge(base: Tokenizer, vocabulary: Vocabulary, language: Language) -> Merged:
    """Append the pieces of `vocabulary` that hold a character of `language`, with bridges where they need some."""
    rules = TokenRules(language, base.preparer().mark, frozenset(base.special_tokens), MAX_LENGTH)
    if vocabulary.pieces is None:
        raise VocabkitError(f"{vocabulary.source} was learned by vocabkit; merge it with --merger ranked")
    builder = _Builder(base, vocabulary.pieces, rules)
    for text in builder.wanted:
        builder.accept(text.encode(), MAX_BRIDGES)
    tokens, dropped = _without_unreachable(base, builder.tokens, builder.dropped)
    if not tokens:
        raise VocabkitError(
            f"{vocabulary.source} adds nothing to {base.source}: none of its pieces holds new {language.name} text"
        )
    wanted = set(builder.wanted)
    bridges = tuple(token.text for token in tokens if token.text not in wanted)
    return Merged(base.extended(tokens), tuple(tokens), bridges, dropped)


class _Builder:
    def __init__(self, base: Tokenizer, pieces: Sequence[str], rules: TokenRules) -> None:
        self.base = base
        self.rules = rules
        self.tokens: list[NewToken] = []
        self.rank: dict[bytes, int] = {}
        self.dropped: dict[str, str] = {}
        self.wanted = self._wanted(pieces)
        self.wanted_set = {text.encode() for text in self.wanted}
        self.substrings = _substrings(self.wanted)
        self.segments = self._segment(self.wanted)
        self.open: set[bytes] = set()

    def _wanted(self, pieces: Iterable[str]) -> list[str]:
        mark = self.base.preparer().mark
        wanted: dict[str, None] = {}
        for piece in pieces:
            text = piece.replace(WORD_BOUNDARY, mark)
            if self.base.find(text.encode()) is not None:
                continue
            if self.rules(text.encode()):
                wanted[text] = None
            else:
                self.dropped[piece] = f"not {self.rules.language.name}, or not fit for a token"
        return list(wanted)

    def _segment(self, texts: Sequence[str]) -> dict[bytes, list[tuple[bytes, tuple[NewToken, ...]]]]:
        """Return, for each text, its units: the bytes, and the steps that make them one token (none if they are)."""
        units = self.base.units(texts)
        segments: dict[bytes, list[tuple[bytes, tuple[NewToken, ...]]]] = {text.encode(): [] for text in texts}
        keys = list(segments)
        for unit, span in zip(units.ids.tolist(), units.span.tolist(), strict=True):
            if unit >= self.base.size:
                spelling = units.spellings[unit - self.base.size]
                segments[keys[span]].append((spelling.token, spelling.steps))
            elif unit >= 0:
                segments[keys[span]].append((self.base.token_bytes(unit) or b"", ()))
        return segments

    def accept(self, token: bytes, bridges: int) -> bool:
        """Add `token`, and first what it is made of; return whether that was possible."""
        if token in self.rank or self.base.find(token) is not None:
            return True
        if token in self.open or token not in self.segments:
            return False
        self.open.add(token)
        units = self.segments[token]
        if b"".join(unit for unit, _ in units) != token:
            self.dropped[token.decode()] = "the base cuts it in two before any merge"
            return False
        for unit, steps in units:
            if not self._open_unit(unit, steps):
                self.dropped[token.decode()] = f"{unit.decode(errors='replace')!r} cannot be made one token"
                return False
        symbols = self._merged([unit for unit, _ in units])
        while len(symbols) > 2:
            at, is_wanted = self._best_pair(symbols)
            joined = symbols[at] + symbols[at + 1]
            if is_wanted and self.accept(joined, 0):
                symbols = self._merged(symbols)
                if joined in symbols:
                    continue
            if bridges == 0 or not self.rules(joined):
                self.dropped[token.decode()] = f"it takes {len(symbols)} tokens and more bridges than it is worth"
                return False
            bridges -= 1
            self._add(joined, (symbols[at], symbols[at + 1]))
            symbols = self._merged(symbols)
        if len(symbols) == 2:
            self._add(token, (symbols[0], symbols[1]))
        return True

    def _open_unit(self, unit: bytes, steps: tuple[NewToken, ...]) -> bool:
        for step in steps:
            if step.token not in self.rank:
                if self.base.find(step.token) is not None or not self.rules(step.token):
                    return False
                self._add(step.token, step.parts)
        return True

    def _add(self, token: bytes, parts: tuple[bytes, ...]) -> None:
        self.rank[token] = len(self.tokens)
        self.tokens.append(NewToken(token, parts, self.substrings[token.decode(errors="replace")]))
        self.dropped.pop(token.decode(errors="replace"), None)

    def _merged(self, symbols: list[bytes]) -> list[bytes]:
        """Join neighbours that spell an accepted token, best rank first, as the tokenizer will."""
        symbols = list(symbols)
        while len(symbols) > 1:
            pairs = [(self.rank.get(symbols[i] + symbols[i + 1], len(self.rank)), i) for i in range(len(symbols) - 1)]
            rank, i = min(pairs)
            if rank == len(self.rank):
                break
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        return symbols

    def _best_pair(self, symbols: list[bytes]) -> tuple[int, bool]:
        """Return the pair to join next: a wanted piece first, else what most wanted pieces hold."""

        def worth(i: int) -> tuple[bool, int, int]:
            joined = symbols[i] + symbols[i + 1]
            return joined in self.wanted_set and joined not in self.open, self.substrings[joined.decode()], -i

        best = max(range(len(symbols) - 1), key=worth)
        return best, worth(best)[0]


def _substrings(texts: Iterable[str]) -> Counter[str]:
    return Counter(text[i:j] for text in texts for i in range(len(text)) for j in range(i + 1, len(text) + 1))


def _without_unreachable(
    base: Tokenizer, tokens: list[NewToken], dropped: dict[str, str]
) -> tuple[list[NewToken], dict[str, str]]:
    """Leave out what the finished tokenizer still cannot produce, until everything can be."""
    while tokens:
        candidate = base.extended(tokens)
        whole = [(i, token) for i, token in enumerate(tokens) if not token.is_bridge]
        encoded = candidate.encode_bare([token.token for _, token in whole])
        failed = {token.token for (i, token), ids in zip(whole, encoded, strict=True) if ids != [base.size + i]}
        if not failed:
            break
        # What is made of a token that goes has to go with it.
        for token in tokens:
            if token.token in failed or any(part in failed for part in token.parts):
                failed.add(token.token)
                dropped[token.text] = "other tokens take its parts first"
        tokens = [token for token in tokens if token.token not in failed]
    return tokens, dropped
