"""Texts as the tokens that two tokenizers make of them, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vocabkit.tokenizer.base import Tokenizer

# Characters: a shorter line says little, and of a longer one its beginning is enough to look at.
SHORTEST, LONGEST = 20, 360


@dataclass(frozen=True, slots=True)
class Piece:
    """A token where it stands in a text.

    token: its bytes; of a special or unknown token, its name's.
    is_new: its id is beyond the base's.  is_special: it stands for no bytes.
    is_moved: the other tokenizer has no token that begins and ends where this one does.
    """

    token: bytes
    id: int
    is_new: bool = False
    is_special: bool = False
    is_moved: bool = False


@dataclass(frozen=True)
class SideBySide:
    """One text, as the base cuts it and as the extended tokenizer does."""

    text: str
    before: tuple[Piece, ...]
    after: tuple[Piece, ...]

    @property
    def ratio(self) -> float:
        """Tokens after, in units of those before."""
        return len(self.after) / max(len(self.before), 1)

    @property
    def is_changed(self) -> bool:
        """Whether the two have not the same ids."""
        return [piece.id for piece in self.before] != [piece.id for piece in self.after]


def side_by_side(base: Tokenizer, candidate: Tokenizer, lines: Sequence[str]) -> list[SideBySide]:
    """Return each line as both tokenizers cut it."""
    names = [{token_id: name for name, token_id in t.id_table.items()} for t in (base, candidate)]
    found = []
    for line, old, new in zip(lines, base.encode(lines), candidate.encode(lines), strict=True):
        before, after = _spans(base, old), _spans(candidate, new)
        found.append(
            SideBySide(
                line,
                _pieces(base, old, before, after, names[0], base.size),
                _pieces(candidate, new, after, before, names[1], base.size),
            )
        )
    return found


def changed_lines(base: Tokenizer, candidate: Tokenizer, lines: Sequence[str]) -> list[SideBySide]:
    """Return the lines that the two cut into other ids, cut themselves where they are long."""
    pairs = zip(lines, base.encode(lines), candidate.encode(lines), strict=True)
    changed = [line for line, old, new in pairs if old != new]
    found = side_by_side(base, candidate, [shortened(line) for line in changed])
    # Where only the end of a long line changed, its beginning would show nothing.
    hidden = [number for number, pair in enumerate(found) if not pair.is_changed]
    for number, pair in zip(hidden, side_by_side(base, candidate, [changed[i] for i in hidden]), strict=True):
        found[number] = pair
    return found


def extremes(
    base: Tokenizer, candidate: Tokenizer, lines: Iterable[str], number: int = 5
) -> tuple[list[SideBySide], list[SideBySide]]:
    """Return the lines that gained least and those that gained most: `number` each, the extreme ones first.

    Lines are measured as they are shown: beginnings of at most 360 characters.  No line is in both lists.
    """
    texts = list(dict.fromkeys(shortened(line.strip()) for line in lines if line.strip()))
    texts = [text for text in texts if len(text) >= SHORTEST] or texts
    counts = zip(base.encode(texts), candidate.encode(texts), strict=True)
    ratios = [len(new) / max(len(old), 1) for old, new in counts]
    order = sorted(range(len(texts)), key=lambda i: ratios[i])
    worst = order[::-1][: min(number, (len(order) + 1) // 2)]
    best = order[: min(number, len(order) // 2)]
    shown = side_by_side(base, candidate, [texts[i] for i in (*worst, *best)])
    return shown[: len(worst)], shown[len(worst) :]


def shortened(line: str) -> str:
    """Return a line's beginning, of at most 360 characters."""
    return line if len(line) <= LONGEST else line[:LONGEST].rstrip() + "…"


def _spans(tokenizer: Tokenizer, ids: Sequence[int]) -> list[tuple[int, int]] | None:
    """Return where each token begins and ends, in bytes of the normalised text; None when one stands for no bytes."""
    spans, end = [], 0
    for token_id in ids:
        token = tokenizer.token_bytes(token_id)
        if token is None:
            return None
        spans.append((end, end + len(token)))
        end += len(token)
    return spans


def _pieces(
    tokenizer: Tokenizer,
    ids: Sequence[int],
    own: list[tuple[int, int]] | None,
    other: list[tuple[int, int]] | None,
    names: dict[int, str],
    first_new: int,
) -> tuple[Piece, ...]:
    known = None if own is None or other is None else set(other)
    pieces = []
    for number, token_id in enumerate(ids):
        token = tokenizer.token_bytes(token_id)
        is_moved = known is not None and own is not None and own[number] not in known
        text = names.get(token_id, f"id {token_id}").encode() if token is None else token
        pieces.append(Piece(text, token_id, token_id >= first_new, token is None, is_moved))
    return tuple(pieces)
