"""Thai and Lao: sister scripts, in which some vowels are written before the consonant that they follow in speech."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import syllables

# A vowel written first, a consonant, and the vowels and tones around it; a final consonant stands alone.
THAI_SYLLABLE = "[\u0e40-\u0e44]?[\u0e01-\u0e2e][\u0e30-\u0e3a\u0e45\u0e47-\u0e4e]*"
LAO_SYLLABLE = "[\u0ec0-\u0ec4]?[\u0e81-\u0eae\u0edc-\u0edf][\u0eb0-\u0ebd\u0ec8-\u0ece]*"

THAI = Language(
    code="th",
    name="Thai",
    native_name="ภาษาไทย",
    # Without the baht sign, which other languages write too.
    scripts=((0x0E01, 0x0E3A), (0x0E40, 0x0E5B)),
    segment=syllables(THAI_SYLLABLE),
    segmenter="orthographic syllables",
    samples=("ภาษาไทยเป็นภาษาของประเทศไทย",),
)
LAO = Language(
    code="lo",
    name="Lao",
    native_name="ພາສາລາວ",
    scripts=((0x0E80, 0x0EFF),),
    segment=syllables(LAO_SYLLABLE),
    segmenter="orthographic syllables",
    samples=("ພາສາລາວເປັນພາສາຂອງປະເທດລາວ",),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Thai and Lao."""
    for language in (THAI, LAO):
        register(language)
