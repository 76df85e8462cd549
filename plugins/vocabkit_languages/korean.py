"""Korean, in Hangul; Chinese characters in Korean text are left to Chinese and Japanese."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import BY_SPACES, compose, words

KOREAN = Language(
    code="ko",
    name="Korean",
    native_name="한국어",
    # Syllables, and the letters that they are composed of.
    scripts=((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xAC00, 0xD7A3), (0xD7B0, 0xD7FB)),
    normalize=compose,
    segment=words,
    segmenter=BY_SPACES,
    sample_corpus="wordfreq:ko",
    samples=("한국어는 한국에서 쓰는 말이다.",),
    max_token_length=8,
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Korean."""
    register(KOREAN)
