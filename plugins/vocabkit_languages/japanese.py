"""Japanese: kana and the Chinese characters, which it shares with Chinese."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.chinese import HAN, MARKS, SHARED
from vocabkit_languages.shared import compose

KANA = (
    (0x3041, 0x309F),
    (0x30A0, 0x30FF),  # with ・ and ー
    (0x31F0, 0x31FF),
    (0xFF66, 0xFF9F),  # half-width
)

JAPANESE = Language(
    code="ja",
    name="Japanese",
    native_name="日本語",
    scripts=HAN + MARKS + KANA,
    punctuation=SHARED,
    normalize=compose,
    sample_corpus="wordfreq:ja",
    samples=("日本語はひらがな、カタカナ、漢字で書かれる。",),
    max_token_length=8,
    neighbours=("zh",),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Japanese."""
    register(JAPANESE)
