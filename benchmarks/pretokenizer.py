"""What `--pretokenizer extend` gains on a byte-level base: words in one piece, and tokens per character.

    python benchmarks/pretokenizer.py --texts udhr/ --base SMOLLM2_FOLDER --name smollm2 [--size 400] [--lang bo ...]

--texts: a folder with CODE.txt, one paragraph a line; two of three are learned from, the third is measured.
A small text supports fewer tokens than --size; `new_tokens` says how many.  Of the guarantees those are checked that
a pre-tokenizer can break: G2, G4, G5 and G6.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from harness import save

from vocabkit.errors import TokenizerError
from vocabkit.language import Language
from vocabkit.plugins import load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.whole_words import whole_words
from vocabkit.tokenizer.widen import EXTEND, KEEP, widened
from vocabkit.vocabulary.continued_bpe import learn_merges
from vocabkit.vocabulary.merge import ranked
from vocabkit.vocabulary.spans import SpanCutter, TokenRules
from vocabkit.vocabulary.verify import verify
from vocabkit.vocabulary.vocabulary_file import Vocabulary

LANGUAGES = ("hi", "bn", "ta", "te", "ml", "si", "bo", "km", "my", "th", "ne", "mr", "gu", "lo")
ASKED = ("G2", "G4", "G5", "G6")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--lang", action="append")
    options = parser.parse_args()
    registry, base = load_plugins(), open_tokenizer(options.base)
    rows = []
    for code in options.lang or LANGUAGES:
        text = (options.texts / f"{code}.txt").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.strip()]
        rows.append(measure(registry.language(code), base, lines, options.size))
        print(rows[-1], flush=True)
    save(f"pretokenizer-{options.name}", {"base": options.name, "size": options.size, "rows": rows})


def measure(language: Language, base: Tokenizer, lines: list[str], size: int) -> dict[str, Any]:
    """Return both ways for one language; a base that cuts none of its words has only one."""
    train, held_out = [line for n, line in enumerate(lines) if n % 3 != 2], lines[2::3]
    row: dict[str, Any] = {"code": language.code}
    ways = {KEEP: base}
    try:
        ways[EXTEND] = widened(base, language, lines)
    except TokenizerError as error:
        row["not_extended"] = str(error).split(";")[0].replace(str(base.source), "the base")
    for name, start in ways.items():
        extended, number = grown(start, language, train, size)
        certificate = verify(extended, base, language=language, texts=lines, only=ASKED, pretokenizer=name)
        pieces = whole_words(start, language, held_out)
        row[name] = {
            "words_in_one_piece": round(pieces.share, 3) if pieces else None,
            "new_tokens": number,
            "before": tokens_per_character(start, held_out),
            "after": tokens_per_character(extended, held_out),
            "words_of_one_token": one_token(extended, language, held_out),
            "failed": certificate.failed,
        }
    return row


def grown(start: Tokenizer, language: Language, train: list[str], size: int) -> tuple[Tokenizer, int]:
    """Return `start` with up to `size` tokens learned from `train`, and how many they are."""
    cut = SpanCutter(start.preparer(), language)
    spans = Counter(span for line in train for span in cut(line, True, True))
    rules = TokenRules(language, start.preparer().mark, frozenset(start.special_tokens), language.max_token_length)
    weights = np.fromiter(spans.values(), np.int64, len(spans))
    tokens = learn_merges(start, start.units(list(spans)), weights, size=size, may_learn=rules)
    return ranked(start, Vocabulary(tokens=tuple(tokens)), language).tokenizer, len(tokens)


def tokens_per_character(tokenizer: Tokenizer, lines: list[str]) -> float:
    """Return how many tokens a character takes."""
    return round(sum(map(len, tokenizer.encode(lines))) / sum(map(len, lines)), 3)


def one_token(tokenizer: Tokenizer, language: Language, lines: list[str]) -> float | None:
    """Return the share of words, as the language's segmenter cuts them, that are one token by themselves."""
    if not language.segment:
        return None
    pieces = (piece.strip() for line in lines for piece in language.segment(line))
    words = [word.encode() for word in pieces if len(word) > 1 and any(map(language.owns, word))]
    return round(sum(len(ids) == 1 for ids in tokenizer.encode_bare(words)) / len(words), 3)


if __name__ == "__main__":
    main()
