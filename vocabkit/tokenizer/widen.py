r"""Widen a byte-level base's pre-tokenizer, so that it keeps the words of a language in one piece.

Most byte-level bases cut text by `\p{L}+` before they merge.  That leaves out combining marks, so the vowel signs of
Hindi, Tamil, Tibetan or Khmer cut every word, and no token can ever span one.  What is added is a single alternative
in front of the base's own pattern, which matches a run of the language's letters and marks.

Why text without the language's scripts keeps its segmentation, whatever else it holds: a pattern is tried at one
place after the other, its alternatives in order, and the first that matches is taken.  The new alternative needs a
character of the scripts.  Where there is none it matches nowhere, so at every place the old alternatives are tried
as before, and give the same matches.  Old ids, tokens and merges are not touched.

Text that does hold the scripts is cut elsewhere, and the base's own merges run across its old cuts: its segmentation
changes even before a token is added.  That is the price.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from vocabkit.errors import TokenizerError
from vocabkit.language import Language
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_level_bpe import ByteLevelBpe
from vocabkit.tokenizer.whole_words import texts_of, whole_words

PRETOKENIZERS = KEEP, EXTEND = "keep", "extend"
# What ByteLevel cuts by under `use_regex`, written out.  Source: pre_tokenizers/byte_level.rs of tokenizers.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# A split that drops what it does not match is the same where a pattern matches everything.
MANNERS = (("Isolated", False), ("Removed", True))
_JOINERS = r"\u200C\u200D"
# Between the syllables of a Tibetan word, where other scripts have nothing; punctuation, by its category.
_TSHEG = (0x0F0B, 0x0F0C)
_BEGINS = rf"[{_JOINERS}]*(?=[\p{{L}}\p{{M}}"
# An optional character, as ` ?` or `[^\r\n\p{L}\p{N}]?`, and then letters.
_LETTERS = re.compile(
    r"(?P<lead>(?: |\\s|\[(?:[^\]\\]|\\.)*\])\?)?\+?(?:\\p\{L\}|\[(?!\^)[^\]]*\\p\{L[ultmo]?\}[^\]]*\])[+*]"
)


def widened(base: Tokenizer, language: Language, texts: Sequence[str] = ()) -> ByteLevelBpe:
    """Return `base` with a pre-tokenizer that keeps words of `language` in one piece; ids and merges are the same.

    texts: lines that show what is cut, beside the language's own samples.
    Raises TokenizerError when nothing is cut, when `base` is of a family that has no such pattern, and when its
    pre-tokenizer is of a shape that is not known.
    """
    wider = with_wide_words(base, language)
    lines = [*texts_of(language), *texts]
    before, after = whole_words(base, language, lines), whole_words(wider, language, lines)
    if before is not None and before.whole == before.words:
        raise TokenizerError(
            f"the pre-tokenizer of {base.source} cuts none of {before.words:,} {language.name} words, so there is "
            f"nothing to extend; leave out --pretokenizer {EXTEND}"
        )
    if before is None or after is None or after.whole <= before.whole:
        raise TokenizerError(
            f"extending the pre-tokenizer of {base.source} would keep no more {language.name} words in one piece; "
            f"leave out --pretokenizer {EXTEND}"
        )
    return wider


def with_wide_words(base: Tokenizer, language: Language) -> ByteLevelBpe:
    """As `widened`, whether or not words are cut: the same base and language always give the same."""
    if not isinstance(base, ByteLevelBpe):
        raise TokenizerError(
            f"{base.source} is {base.family}, which cuts no words by a pattern: there is nothing to extend; leave "
            f"out --pretokenizer {EXTEND}"
        )
    steps, number = _steps(base, base.json.get("pre_tokenizer"), language.scripts)
    if not number:
        raise _unknown(base)
    node = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}
    return ByteLevelBpe(base.source, {**base.json, "pre_tokenizer": node}, base.sidecars)


def is_widened(data: dict[str, Any]) -> bool:
    """Return whether the pre-tokenizer of a tokenizer.json was widened, for whatever language."""
    return json.dumps(_BEGINS)[1:-1] in json.dumps(data.get("pre_tokenizer"))


def word_pattern(scripts: Sequence[tuple[int, int]], lead: str = "") -> str:
    r"""Return a pattern for a run of letters and marks of `scripts`, with what may stand before it.

    Joiners belong to the run; it never matches without a letter, a mark or a tsheg of the scripts.
    With J for the joiners, ((0x900, 0x97F),), " ?" ->
    " ?[J]*(?=[\p{L}\p{M}])[\u0900-\u097F](?:(?=[\p{L}\p{M}J])[\u0900-\u097FJ])*"
    """
    own = "".join(f"{_escaped(first)}-{_escaped(last)}" for first, last in scripts)
    tsheg = "".join(_escaped(code) for code in _TSHEG if any(first <= code <= last for first, last in scripts))
    return rf"{lead}{_BEGINS}{tsheg}])[{own}](?:(?=[\p{{L}}\p{{M}}{tsheg}{_JOINERS}])[{own}{_JOINERS}])*"


def _steps(base: Tokenizer, node: Any, scripts: Sequence[tuple[int, int]]) -> tuple[list[dict[str, Any]], int]:
    """Return what takes the place of a step of the pre-tokenizer, and how many patterns were widened in it."""
    if not isinstance(node, dict):
        return [], 0
    kind = node.get("type")
    if kind == "Sequence":
        parts = [_steps(base, part, scripts) for part in node.get("pretokenizers", [])]
        steps = [step for part, _ in parts for step in part]
        return [{**node, "pretokenizers": steps}], sum(number for _, number in parts)
    if kind == "ByteLevel" and node.get("use_regex", True):
        # Without its own pattern it would put a space before every piece, not only before a text.
        if node.get("add_prefix_space"):
            raise _unknown(base)
        split = {"type": "Split", "pattern": {"Regex": GPT2_PATTERN}, "behavior": "Isolated", "invert": False}
        steps, number = _steps(base, split, scripts)
        return [*steps, {**node, "use_regex": False}], number
    if kind == "Split" and (node.get("behavior"), bool(node.get("invert"))) in MANNERS:
        pattern = node["pattern"].get("Regex", "")
        found = next(filter(None, map(_LETTERS.match, alternatives(pattern))), None)
        if found:
            wide = word_pattern(scripts, found["lead"] or "")
            return [{**node, "pattern": {"Regex": f"{wide}|{pattern}"}}], 1
    return [node], 0


def alternatives(pattern: str) -> list[str]:
    """Return what stands between the bars of a regular expression that are in no group and no class."""
    found, start, groups, classes, place = [], 0, 0, 0, 0
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            place += 1
        elif character == "[":
            classes += 1
        elif character == "]":
            classes = max(0, classes - 1)
        elif not classes and character in "()":
            groups += 1 if character == "(" else -1
        elif character == "|" and not classes and not groups:
            found.append(pattern[start:place])
            start = place + 1
        place += 1
    return [*found, pattern[start:]]


def _escaped(code: int) -> str:
    # Beyond the first plane there is no escape that every engine of regular expressions knows.
    return f"\\u{code:04X}" if code < 0x10000 else chr(code)


def _unknown(base: Tokenizer) -> TokenizerError:
    shown = json.dumps(base.json.get("pre_tokenizer"), ensure_ascii=False)
    return TokenizerError(
        f"the pre-tokenizer of {base.source} is of a shape that cannot be extended ({shown[:200]}); leave out "
        f"--pretokenizer {EXTEND}"
    )
