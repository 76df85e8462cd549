"""Chinese, in Simplified and Traditional characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files

from vocabkit import Language, hookimpl

HAN = (
    (0x3005, 0x3007),  # 々〆〇
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3400, 0x4DBF),  # extension A
    (0x4E00, 0x9FFF),  # the unified ideographs
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0x20000, 0x323AF),  # extensions B to H and their compatibility supplement
)
MARKS = (
    (0x3001, 0x3003),  # 、。〃
    (0x3008, 0x3020),  # 〈《「『【〒〔〖〘〚〜
    (0xFF01, 0xFF20),  # full-width ASCII marks and digits, without its letters
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF65),
    (0xFFE0, 0xFFE6),  # full-width currency signs
)
# Quotation marks, ellipsis and dash are shared with European text: never a token of their own.
SHARED = "“”‘’…—·"


def normalize(text: str) -> str:
    """Compose, and map compatibility ideographs to the unified ones; width is left alone, for it carries meaning."""
    return unicodedata.normalize("NFC", text)


def segment_with(module: str) -> str:
    """Return "name version" of an installed segmenter, "" when it is not installed."""
    try:
        return f"{module} {version(module)}"
    except PackageNotFoundError:
        return ""


def _rjieba(text: str) -> list[str]:
    import rjieba

    return list(rjieba.cut(text))


def _jieba(text: str) -> list[str]:
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)
    return list(jieba.cut(text))


@cache
def _converters() -> tuple[object, ...]:
    try:
        from opencc import OpenCC
    except ImportError:
        return ()
    return OpenCC("s2t"), OpenCC("t2s")


def variants(text: str) -> Iterator[str]:
    """Yield `text` in Traditional and in Simplified characters where that differs; nothing without the extra `zh`."""
    for converter in _converters():
        converted = converter.convert(text)  # type: ignore[attr-defined]
        if converted != text:
            yield converted


SEGMENTERS = {"rjieba": _rjieba, "jieba": _jieba}
SEGMENTER = next((name for name in SEGMENTERS if segment_with(name)), "")

CHINESE = Language(
    code="zh",
    name="Chinese",
    native_name="中文",
    scripts=HAN + MARKS,
    punctuation=SHARED,
    normalize=normalize,
    segment=SEGMENTERS.get(SEGMENTER),
    segmenter=segment_with(SEGMENTER) if SEGMENTER else "",
    variants=variants,
    sample_corpus="wordfreq:zh",
    evaluation_text=(files(__package__) / "chinese.txt").read_text(encoding="utf-8"),
    samples=(
        "人工智能是计算机科学、心理学、哲学等学科融合的交叉学科。",
        "人工智慧是一門跨領域的學科，與許多知識密不可分。",
    ),
    # Eight covers 中华人民共和国; longer ones saved 0.01 % of tokens and were boilerplate.
    max_token_length=8,
    neighbours=("ja", "yue"),
)


@hookimpl
def register_languages(register) -> None:  # type: ignore[no-untyped-def]
    """Offer Chinese."""
    register(CHINESE)
