"""Mongolian in its traditional, vertical script."""

from __future__ import annotations

from collections.abc import Callable

from vocabkit import Language, hookimpl
from vocabkit_languages.shared import BY_SPACES, words

TRADITIONAL = Language(
    code="mn-Mong",
    name="Mongolian (traditional script)",
    native_name="ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ",
    # With the variation selectors, which choose the form of a letter.
    scripts=((0x1800, 0x18AF), (0x11660, 0x1167F)),
    segment=words,
    segmenter=BY_SPACES,
    samples=("ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ᠃",),
    neighbours=("mnc", "sjo"),
)


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Mongolian in the traditional script."""
    register(TRADITIONAL)
