"""Tokens on the page: lines as boxes, before and after, and the list of the new ones."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from vocabkit.report.facts import Facts
from vocabkit.report.visible import CIRCLE, NAMES, SPACE, as_html, as_script, direction, plain

if TYPE_CHECKING:
    from vocabkit.measure.side_by_side import Piece, SideBySide
    from vocabkit.vocabulary.new_tokens import NewTokenFacts

# Bytes of the list of new tokens; the page has to stay below 3 MB.
MOST_BYTES = 2_000_000
# Rows in the page for readers without a script; it shows as many at a time.
ROWS = 100
PER_PARAGRAPH = 100
# Dead tokens to see at once, and in all.
DEAD_AT_ONCE, MOST_DEAD = 80, 3000


def side_by_side_html(pairs: Sequence[SideBySide], language: str = "", *, moved: bool = False) -> str:
    """Return lines as boxes, those of the base at the left or on top.

    moved: mark old tokens that begin or end where the other side has no cut.
    """
    return "".join(_pair(pair, language, moved) for pair in pairs)


def dead_html(dead: Sequence[NewTokenFacts], language: str) -> str:
    """Return the tokens that can never be produced, the first of them at once."""
    items = [f"<li><bdi{_lang(language)}>{as_html(token.token)}</bdi></li>" for token in dead[:MOST_DEAD]]
    text = f'<ul class="chips">{"".join(items[:DEAD_AT_ONCE])}</ul>'
    if len(dead) > DEAD_AT_ONCE:
        rest = "".join(items[DEAD_AT_ONCE:])
        left_out = f"<p>{len(dead) - MOST_DEAD:,} more are not listed.</p>" if len(dead) > MOST_DEAD else ""
        text += f'<details><summary>{len(dead) - DEAD_AT_ONCE:,} more</summary><ul class="chips">{rest}</ul>'
        text += f"{left_out}</details>"
    return text


def table_class(facts: Facts) -> str:
    """Return which columns of the table have nothing to show."""
    names = [] if any(token.count for token in facts.tokens) else ["no-count"]
    return " ".join(names if facts.nearest else [*names, "no-near"])


def table_html(facts: Facts) -> str:
    """Return the table of new tokens: its first rows, which the page's script replaces by those asked for."""
    language = _lang(facts.code)
    return "".join(_row(facts, token, language) for token in facts.tokens[:ROWS])


def listing_html(facts: Facts, number: int) -> str:
    """Return all of the first `number` tokens in the order of their ids, a hundred a paragraph."""
    tokens = facts.tokens[:number]
    groups = [tokens[start : start + PER_PARAGRAPH] for start in range(0, len(tokens), PER_PARAGRAPH)]
    return "".join(
        f"<p{_lang(facts.code)}><small>{group[0].id:,}</small> "
        f"{' '.join(f'<bdi>{as_html(token.token)}</bdi>' for token in group)}</p>"
        for group in groups
    )


def tokens_json(facts: Facts) -> tuple[str, int]:
    """Return the new tokens as JSON for the page's script, and how many of them fit.

    Columns: t tokens, c counts when learned, u uses in the texts, r what each replaces as places in p, p pieces of
    the base, d places of dead tokens, n place -> nearest old tokens and the cosine; `first` is the first id.
    """
    number = len(facts.tokens)
    while True:
        text = as_script(_columns(facts, facts.tokens[:number]))
        size = len(text.encode()) + len(listing_html(facts, number).encode())
        if size <= MOST_BYTES:
            return text, number
        number = int(number * min(0.95, MOST_BYTES / size))


def _columns(facts: Facts, tokens: Sequence[NewTokenFacts]) -> dict[str, Any]:
    used = sorted({piece for token in tokens for piece in token.replaces})
    places = {piece: place for place, piece in enumerate(used)}
    return {
        "first": facts.base_size,
        "lang": facts.code,
        "t": [plain(token.token) for token in tokens],
        "c": [token.count for token in tokens] if any(token.count for token in tokens) else [],
        "u": [token.uses for token in tokens],
        "r": [[places[piece] for piece in token.replaces] for token in tokens],
        "p": [plain(facts.pieces[piece]) for piece in used],
        "d": [place for place, token in enumerate(tokens) if token.is_dead],
        "n": {
            place: [[plain(name), round(cosine, 3)] for name, cosine in facts.nearest[token.id]]
            for place, token in enumerate(tokens)
            if token.id in facts.nearest
        },
    }


def _pair(pair: SideBySide, language: str, moved: bool) -> str:
    before, after = len(pair.before), len(pair.after)
    # Of the text, not of its tokens: one side may be nothing but bytes.
    where = f' dir="{direction(pair.text)}"{_lang(language)}'
    return (
        f'<figure class="pair"><figcaption><b>{before:,}</b> → <b>{after:,}</b> tokens'
        f" <small>{pair.ratio:.2f} of before</small></figcaption>"
        f'<div class="sides">{_side("before", pair.before, where, moved)}'
        f"{_side('after', pair.after, where, moved)}</div>"
        "</figure>"
    )


def _side(name: str, pieces: Sequence[Piece], attributes: str, moved: bool) -> str:
    boxes = "".join(_box(piece, moved) for piece in pieces)
    return f'<div><small class="side">{name}</small><p class="line"{attributes}>{boxes}</p></div>'


def _box(piece: Piece, moved: bool) -> str:
    kinds = "n" if piece.is_new else "m" if piece.is_moved and moved else "s" if piece.is_special else ""
    kind = f' class="{kinds}" title="{piece.id}"' if kinds else ""
    # Lines may break between two tokens, which have no space between them.
    return f"<span{kind}>{as_html(piece.token)}</span><wbr>"


def _row(facts: Facts, token: NewTokenFacts, language: str) -> str:
    pieces = "".join(f"<bdi>{as_html(facts.pieces[piece])}</bdi>" for piece in token.replaces)
    near = ", ".join(f"<bdi>{as_html(name)}</bdi> {cosine:.2f}" for name, cosine in facts.nearest.get(token.id, ()))
    dead = " <em>dead</em>" if token.is_dead else ""
    count = "" if token.count is None else f"{token.count:,}"
    return (
        f"<tr><td{language}><bdi>{as_html(token.token)}</bdi>{dead}</td>"
        f'<td data-name="id">{token.id:,}</td><td data-name="length">{_length(token.token)}</td>'
        f'<td data-name="learned">{count}</td><td data-name="in the texts">{token.uses:,}</td>'
        f'<td data-name="replaces"{language}>{pieces}</td><td data-name="near"{language}>{near}</td></tr>'
    )


def _length(token: bytes) -> int:
    """Return how many characters a token has, the word-boundary mark not counted; a byte that is none is one."""
    return len(NAMES.sub("x", plain(token).removeprefix(SPACE).removeprefix(CIRCLE)))


def _lang(code: str) -> str:
    return f' lang="{escape(code)}"' if code else ""
