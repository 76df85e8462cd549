"""Tibetan: syllables end with a tsheg, words are not marked."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import compose, syllables

# A run of letters, vowel signs or digits, and the tsheg (་ or ༌) after it.
SYLLABLE = "[\u0f00\u0f18-\u0f39\u0f3e-\u0f84\u0f86-\u0fbc]+[\u0f0b\u0f0c]?"

TIBETAN = Language(
    code="bo",
    name="Tibetan",
    native_name="བོད་སྐད་",
    scripts=((0x0F00, 0x0FFF),),
    normalize=compose,
    segment=syllables(SYLLABLE),
    segmenter="syllables by tsheg",
    samples=("བོད་ཀྱི་སྐད་ཡིག་ནི་ཧ་ཅང་རྙིང་པ་ཡིན།",),
    neighbours=("dz", "lbj"),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Tibetan."""
    register(TIBETAN)
