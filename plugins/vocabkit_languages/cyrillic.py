"""Mongolian and Kazakh in Cyrillic letters; other languages in them, Russian first, share the new tokens."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import BY_SPACES, compose, words

CYRILLIC = ((0x0400, 0x052F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F))

MONGOLIAN = Language(
    code="mn",
    name="Mongolian",
    native_name="монгол",
    scripts=CYRILLIC,
    normalize=compose,
    segment=words,
    segmenter=BY_SPACES,
    samples=("Монгол хэл бол Монгол улсын албан ёсны хэл юм.",),
    neighbours=("bua", "kk", "ky", "ru", "tyv", "xal"),
)
KAZAKH = Language(
    code="kk",
    name="Kazakh",
    native_name="қазақша",
    scripts=CYRILLIC,
    normalize=compose,
    segment=words,
    segmenter=BY_SPACES,
    samples=("Қазақ тілі — Қазақстанның мемлекеттік тілі.",),
    neighbours=("ba", "ky", "mn", "ru", "tt"),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Mongolian and Kazakh."""
    for language in (MONGOLIAN, KAZAKH):
        register(language)
