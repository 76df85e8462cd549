"""Two languages written in Tibetan script, beside the Tibetan that vocabkit brings."""

from __future__ import annotations

import re
import unicodedata

from vocabkit import Language

TIBETAN_SCRIPT = ((0x0F00, 0x0FFF),)
# Letters, vowel signs and digits, and the tsheg (་) that ends them; ༌ is a tsheg at which no line may break.
SYLLABLE = re.compile("([\u0f00\u0f18-\u0f39\u0f3e-\u0f84\u0f86-\u0fbc]+[\u0f0b\u0f0c]?)")


def normalize(text: str) -> str:
    """Return `text` with vowel signs in Unicode's order, and one kind of tsheg: "ཁ༌" -> "ཁ་"."""
    return unicodedata.normalize("NFC", text).replace("\u0f0c", "\u0f0b")


def segment(text: str) -> list[str]:
    """Cut text into syllables and what stands between them: "རྫོང་ཁ།" -> ["རྫོང་", "ཁ", "།"]."""
    return [piece for piece in SYLLABLE.split(text) if piece]


DZONGKHA = Language(
    code="dz",
    name="Dzongkha",
    native_name="རྫོང་ཁ་",
    scripts=TIBETAN_SCRIPT,
    normalize=normalize,
    segment=segment,
    segmenter="syllables by tsheg",
    samples=("རྫོང་ཁ་འདི་ འབྲུག་གི་རྒྱལ་ཡོངས་སྐད་ཡིག་ཨིན།", "འབྲུག་གི་རྒྱལ་ས་ ཐིམ་ཕུག་ཨིན།"),
    neighbours=("bo", "xct"),
)

CLASSICAL_TIBETAN = Language(
    code="xct",
    name="Classical Tibetan",
    native_name="ཆོས་སྐད་",
    scripts=TIBETAN_SCRIPT,
    normalize=normalize,
    segment=segment,
    segmenter="syllables by tsheg",
    samples=("༄༅། །བོད་ཀྱི་ཡི་གེ་ལ་གསལ་བྱེད་སུམ་ཅུ་དང་དབྱངས་བཞི་ཡོད་དོ།།",),
    neighbours=("bo", "dz"),
)
