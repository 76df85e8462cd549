"""What is said of every new token."""

from __future__ import annotations

from pathlib import Path

from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.tokenizer.reach import reach
from vocabkit.vocabulary.new_tokens import describe


def test_a_token_is_told_by_what_it_replaces_and_its_uses(mistral: Tokenizer) -> None:
    learned = [NewToken(text.encode(), (), count) for text, count in (("改变", 7), ("人工智能", 0))]
    candidate = mistral.extended(learned).with_special_tokens(["<|zh|>"])
    change, dead, special = describe(mistral, candidate, learned, ["改变，改变。", "人工智能"])
    assert (change.id, change.count, change.uses, change.is_dead) == (mistral.size, 7, 2, False)
    assert b"".join(mistral.token_bytes(piece) or b"" for piece in change.replaces).decode() == "改变"
    # No merge leads to four characters when none of their pairs is a token.
    assert (dead.count, dead.uses, dead.is_dead) == (None, 0, True)
    assert (special.token, special.is_special, special.is_dead) == (b"<|zh|>", True, False)
    assert reach(candidate, range(mistral.size, candidate.size)).dead == (dead.id,)


def test_the_beginning_of_a_character_is_told_by_its_parts(smollm2_folder: Path) -> None:
    base = open_tokenizer(smollm2_folder)
    parts = (b"\xe9", b"\x85")
    bridge = NewToken(b"\xe9\x85", parts, 3)
    assert base.find(bridge.token) is None
    candidate = base.extended([bridge])
    (found,) = describe(base, candidate, [bridge], ["酒"])
    assert tuple(base.token_bytes(piece) for piece in found.replaces) == parts
    assert (found.uses, found.is_dead) == (1, False)
    # Without the parts, its bytes are what is left to say.
    assert describe(base, candidate, [], [])[0].replaces == found.replaces
