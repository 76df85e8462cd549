"""Arabic, Urdu and Uyghur: three languages of the Arabic script."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import BY_SPACES, compose, words

ARABIC_SCRIPT = (
    (0x0600, 0x06FF),  # with the marks ، ؛ ؟ and both sets of digits
    (0x0750, 0x077F),
    (0x0870, 0x08FF),
    (0xFB50, 0xFDFF),  # presentation forms, without the byte-order mark that follows them
    (0xFE70, 0xFEFC),
)


def normalize(text: str) -> str:
    """Compose, and spell presentation forms, which old files and PDFs hold, with the letters: "ﻼ" -> "لا"."""
    return compose("".join(unicodedata.normalize("NFKC", c) if "\ufb50" <= c <= "\ufefc" else c for c in text))


ARABIC = Language(
    code="ar",
    name="Arabic",
    native_name="العربية",
    scripts=ARABIC_SCRIPT,
    normalize=normalize,
    segment=words,
    segmenter=BY_SPACES,
    sample_corpus="wordfreq:ar",
    samples=("اللغة العربية لغة قديمة، ويتكلم بها ملايين الناس.",),
    neighbours=("ckb", "fa", "ps", "sd", "ug", "ur"),
)
URDU = Language(
    code="ur",
    name="Urdu",
    native_name="اردو",
    scripts=ARABIC_SCRIPT,
    normalize=normalize,
    segment=words,
    segmenter=BY_SPACES,
    sample_corpus="wordfreq:ur",
    samples=("اردو ایک خوبصورت زبان ہے۔",),
    neighbours=("ar", "fa", "pnb", "ps", "sd", "ug"),
)
UYGHUR = Language(
    code="ug",
    name="Uyghur",
    native_name="ئۇيغۇرچە",
    scripts=ARABIC_SCRIPT,
    normalize=normalize,
    segment=words,
    segmenter=BY_SPACES,
    samples=("ئۇيغۇر تىلى تۈركىي تىللارنىڭ بىرى.",),
    neighbours=("ar", "ckb", "fa", "kk", "ur"),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Arabic, Urdu and Uyghur."""
    for language in (ARABIC, URDU, UYGHUR):
        register(language)
