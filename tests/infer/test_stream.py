"""Text comes out in whole characters, and stop strings never do."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vocabkit.infer.stream import TextStream

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


def pushed(data: bytes, cuts: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    """Every piece that a stream gives for bytes that are cut into tokens anywhere."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    tokens = [data[a:b] for a, b in pairwise(places)]
    stream = TextStream(lambda i: tokens[i], stop)
    found = [stream.push(i) for i in range(len(tokens))]
    return [*found, stream.finish()], stream


@given(TEXTS, st.lists(st.integers(0, 200)))
def test_pieces_are_the_text_and_never_half_a_character(text: str, cuts: list[int]) -> None:
    pieces, _ = pushed(text.encode(), cuts)
    assert "".join(pieces) == text
    assert all(("\ufffd" in piece) <= ("\ufffd" in text) for piece in pieces)


@given(
    st.text("ab中", max_size=12),
    st.lists(st.integers(0, 60)),
    st.lists(st.text("ab中", min_size=1, max_size=3), max_size=3),
)
def test_what_stands_before_the_first_stop_string_is_all(text: str, cuts: list[int], stop: list[str]) -> None:
    pieces, stream = pushed(text.encode(), cuts, tuple(stop))
    # A stop string ends the text as soon as it is whole.
    wanted = text
    for end in range(len(text) + 1):
        places = [place for one in stop if (place := text[:end].find(one)) >= 0]
        if places:
            wanted = text[: min(places)]
            break
    said = "".join(pieces)
    assert not any(one in said for one in stop)
    assert said == wanted or (stream.has_stopped and wanted.startswith(said)) or not stop
    assert stream.has_stopped == (wanted != text or any(one in text for one in stop))


def test_bytes_that_are_no_text_are_replaced_and_a_cut_character_is_silent() -> None:
    pieces, _ = pushed(b"a\xff\xfeb" + "中".encode()[:2], [1, 2, 3, 4, 5])
    assert "".join(pieces) == "a\ufffd\ufffdb"


def test_a_stop_string_that_begins_is_held_back() -> None:
    stream = TextStream(lambda i: [b"one <", b"en", b"d> two", b" three"][i], ("<end>",))
    assert [stream.push(0), stream.push(1)] == ["one ", ""]
    assert stream.push(2) == ""
    assert stream.has_stopped
    assert stream.push(3) == stream.finish() == ""
