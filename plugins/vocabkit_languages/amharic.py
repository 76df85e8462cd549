"""Amharic: words stand between spaces or, in older text, between the marks ፡."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import BY_SPACES, words

AMHARIC = Language(
    code="am",
    name="Amharic",
    native_name="አማርኛ",
    scripts=((0x1200, 0x139F), (0x2D80, 0x2DDF), (0xAB00, 0xAB2F)),
    segment=words,
    segmenter=BY_SPACES,
    samples=("አማርኛ የኢትዮጵያ ቋንቋ ነው።",),
    neighbours=("gez", "ti", "tig"),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Amharic."""
    register(AMHARIC)
