"""Indonesian, Swahili, Vietnamese, Yoruba and Hausa: languages in the letters of English, and some of their own.

No extension for them leaves all English text as it was; `max_drift` bounds how much of it changes.
"""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import LATIN, Language, hookimpl
from vocabkit_languages.shared import BY_SPACES, compose, words


def _language(code: str, name: str, native_name: str, sample: str, **more: object) -> Language:
    options: dict[str, object] = {
        "scripts": LATIN,
        "native_name": native_name,
        "normalize": compose,
        "segment": words,
        "segmenter": BY_SPACES,
        "samples": (sample,),
        "max_drift": 0.01,
    }
    return Language(code, name, **options | more)  # type: ignore[arg-type]


LANGUAGES = (
    _language(
        "id", "Indonesian", "Bahasa Indonesia", "Bahasa Indonesia dipakai oleh banyak orang di banyak pulau.",
        sample_corpus="wordfreq:id", neighbours=("en", "ms"),
    ),
    _language(
        "sw", "Swahili", "Kiswahili", "Kiswahili ni lugha inayozungumzwa na watu wengi wa Afrika ya Mashariki.",
        neighbours=("en",),
    ),
    _language(
        "vi", "Vietnamese", "Tiếng Việt", "Tiếng Việt được viết bằng chữ cái La-tinh với nhiều dấu.",
        sample_corpus="wordfreq:vi", neighbours=("en",),
    ),
    _language(
        "yo", "Yoruba", "Yorùbá", "Èdè Yorùbá jẹ́ èdè tí ọ̀pọ̀ ènìyàn ń sọ.",
        neighbours=("en",),
    ),
    _language(
        "ha", "Hausa", "Hausa", "Harshen Hausa yana da haruffa kamar ɓ, ɗ da ƙ.", neighbours=("en",),
    ),
)  # fmt: skip


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer all five."""
    for language in LANGUAGES:
        register(language)
