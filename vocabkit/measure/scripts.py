"""Which script a letter belongs to, and which scripts a language is written in."""

from __future__ import annotations

import unicodedata
from functools import cache

from vocabkit.language import Language

LATIN = "Latin"
# First words of names of letters and marks that belong to no script, or to whichever stands before them.
_NO_SCRIPT = (
    "ANGSTROM BLACK-LETTER CIRCLED COMBINING DOUBLE-STRUCK ENCLOSING EULER FEMININE KATAKANA-HIRAGANA KELVIN "
    "MASCULINE MATHEMATICAL MICRO MODIFIER OHM SCRIPT VARIATION VEDIC VERTICAL"
)
NO_SCRIPT = frozenset(_NO_SCRIPT.split())
WIDTHS = ("FULLWIDTH", "HALFWIDTH")
NAMES = {"CJK": "Han", "IDEOGRAPHIC": "Han"}
# Languages that no plugin offers and that are not written in Latin letters.
OTHER_SCRIPTS = {
    "Arabic": "arz ary fa ps sd sdh ug ur",
    "Armenian": "hy",
    "Bengali": "as bn",
    "Cyrillic": "ba be bg kk ky mk mn ru tg tt uk",
    "Cyrillic Latin": "sr",
    "Devanagari": "gom hi mr ne sa",
    "Ethiopic": "am ti",
    "Georgian": "ka",
    "Greek": "el grc",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Han": "wuu yue zh",
    "Han Hiragana Katakana": "ja",
    "Hangul": "ko",
    "Hebrew": "hbo he yi",
    "Kannada": "kn",
    "Khmer": "km",
    "Lao": "lo",
    "Malayalam": "ml",
    "Myanmar": "my",
    "Oriya": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thai": "th",
    "Tibetan": "bo dz",
}


@cache
def script_of(character: str) -> str:
    """Return the script of a letter or mark, by its Unicode name: "я" -> "Cyrillic"; "" for any other character.

    Combining marks, variables of mathematics and letterlike signs have none either.
    """
    if unicodedata.category(character)[0] not in "LM":
        return ""
    words = unicodedata.name(character, "").split()
    if words and words[0] in WIDTHS:
        words = words[1:]
    if not words or words[0] in NO_SCRIPT:
        return ""
    return NAMES.get(words[0], words[0].capitalize())


def scripts_of(language: Language) -> frozenset[str]:
    """Return the scripts of a language's own letters; of each range the first and the last letter are asked."""
    found = set()
    for first, last in language.scripts:
        for code_points in (range(first, last + 1), range(last, first - 1, -1)):
            found.add(next(filter(None, (script_of(chr(code_point)) for code_point in code_points)), ""))
    return frozenset(found - {""})


def scripts_of_code(code: str) -> frozenset[str]:
    """Return the scripts of a language that no plugin offers: Latin unless it is known to have another."""
    scripts = next((scripts for scripts, codes in OTHER_SCRIPTS.items() if code in codes.split()), LATIN)
    return frozenset(scripts.split())
