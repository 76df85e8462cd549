"""Hindi, Marathi and Nepali: three languages of the Devanagari script."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import BY_SPACES, compose, words

# The second and third are accents for Vedic texts and further letters.
DEVANAGARI = ((0x0900, 0x097F), (0x1CD0, 0x1CFF), (0xA8E0, 0xA8FF))

HINDI = Language(
    code="hi",
    name="Hindi",
    native_name="हिन्दी",
    scripts=DEVANAGARI,
    normalize=compose,
    segment=words,
    segmenter=BY_SPACES,
    sample_corpus="wordfreq:hi",
    samples=("हिन्दी भारत की एक भाषा है।",),
    neighbours=("bho", "mai", "mr", "ne", "sa"),
)
MARATHI = Language(
    code="mr",
    name="Marathi",
    native_name="मराठी",
    scripts=DEVANAGARI,
    normalize=compose,
    segment=words,
    segmenter=BY_SPACES,
    samples=("मराठी ही महाराष्ट्राची भाषा आहे.",),
    neighbours=("bho", "gom", "hi", "mai", "ne", "sa"),
)
NEPALI = Language(
    code="ne",
    name="Nepali",
    native_name="नेपाली",
    scripts=DEVANAGARI,
    normalize=compose,
    segment=words,
    segmenter=BY_SPACES,
    samples=("नेपाली नेपालको भाषा हो।",),
    neighbours=("bho", "hi", "mai", "mr", "sa"),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Hindi, Marathi and Nepali."""
    for language in (HINDI, MARATHI, NEPALI):
        register(language)
