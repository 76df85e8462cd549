"""Bengali, Gujarati, Malayalam, Sinhala, Tamil and Telugu: each has a script of its own."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import BY_SPACES, compose, words

DANDA = (0x0964, 0x0965)  # । and ॥ stand among the Devanagari letters, and end sentences in other scripts too


def _language(code: str, name: str, native_name: str, first: int, sample: str, **more: object) -> Language:
    """Return the language whose script is the block of 128 code points from `first`."""
    options: dict[str, object] = {
        "scripts": ((first, first + 0x7F), DANDA),
        "native_name": native_name,
        "normalize": compose,
        "segment": words,
        "segmenter": BY_SPACES,
        "samples": (sample,),
    }
    return Language(code, name, **options | more)  # type: ignore[arg-type]


LANGUAGES = (
    _language(
        "bn", "Bengali", "বাংলা", 0x0980, "বাংলা একটি সুন্দর ভাষা।", sample_corpus="wordfreq:bn", neighbours=("as", "mni")
    ),
    _language("gu", "Gujarati", "ગુજરાતી", 0x0A80, "ગુજરાતી એક ભાષા છે."),
    _language("ml", "Malayalam", "മലയാളം", 0x0D00, "മലയാളം കേരളത്തിലെ ഭാഷയാണ്."),
    _language("si", "Sinhala", "සිංහල", 0x0D80, "සිංහල ශ්‍රී ලංකාවේ භාෂාවකි."),
    _language("ta", "Tamil", "தமிழ்", 0x0B80, "தமிழ் ஒரு பழமையான மொழி.", sample_corpus="wordfreq:ta"),
    _language("te", "Telugu", "తెలుగు", 0x0C00, "తెలుగు ఒక భాష."),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer all six."""
    for language in LANGUAGES:
        register(language)
