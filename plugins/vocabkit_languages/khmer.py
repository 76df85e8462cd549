"""Khmer: words are not marked; a syllable is a letter with what is written around it."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import JOINERS, syllables

LETTER = "[\u1780-\u17b3]"
# A letter, letters below it (after the sign coeng), vowels and signs; a final consonant stands alone.
SYLLABLE = f"{LETTER}(?:\u17d2{LETTER}|[\u17b4-\u17d1\u17dd{JOINERS}])*"

KHMER = Language(
    code="km",
    name="Khmer",
    native_name="ភាសាខ្មែរ",
    scripts=((0x1780, 0x17FF), (0x19E0, 0x19FF)),
    segment=syllables(SYLLABLE),
    segmenter="orthographic syllables",
    samples=("ភាសាខ្មែរជាភាសារបស់ប្រទេសកម្ពុជា។",),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Khmer."""
    register(KHMER)
