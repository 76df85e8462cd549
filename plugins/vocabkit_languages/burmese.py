"""Burmese: a syllable is a letter, what is written around it, and the final consonants that asat silences."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import compose, syllables

LETTER = "[\u1000-\u102a\u103f\u104c-\u104f]"
SIGN = "[\u102b-\u103e]"
# A consonant belongs to the syllable before it under asat (်, also with the dot ့ first), over or under another (္).
FINAL = "[\u1000-\u1021](?=\u1037?\u103a|\u1039)|(?<=\u1039)[\u1000-\u1021]"

BURMESE = Language(
    code="my",
    name="Burmese",
    native_name="မြန်မာဘာသာ",
    scripts=((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)),
    normalize=compose,
    segment=syllables(f"{LETTER}(?:{SIGN}|{FINAL})*"),
    segmenter="syllables by asat",
    samples=("မြန်မာဘာသာသည် မြန်မာနိုင်ငံ၏ ဘာသာစကားဖြစ်သည်။",),
    neighbours=("ksw", "mnw", "shn"),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Burmese."""
    register(BURMESE)
