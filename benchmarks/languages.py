"""Every bundled language on one base: tokens per character before and after, and the whole certificate.

    python benchmarks/languages.py --texts udhr/ --base starter --name mistral-v1 [--size 2000] [--lang bo ...]

--texts: a folder with CODE.txt, one paragraph a line.  A language with a list of words is learned from that and
measured on the text; of the others two of three paragraphs are learned from, rare pairs too, and the third is
measured.  A small text supports fewer tokens than --size; `new_tokens` says how many.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import save

from vocabkit.cli.texts import read_base_text
from vocabkit.corpus import count_spans, open_corpus
from vocabkit.language import Language
from vocabkit.plugins import Registry, load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.continued_bpe import learn_merges
from vocabkit.vocabulary.drift import BaseText, learn_within
from vocabkit.vocabulary.extend import extend
from vocabkit.vocabulary.spans import SpanCutter, TokenRules
from vocabkit.vocabulary.vocabulary_file import Vocabulary


@dataclass(frozen=True)
class Text:
    """What a language is learned from, and the lines that it is measured on."""

    name: str
    spans: Mapping[str, int]
    min_count: int
    held_out: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--name", required=True, help="of the base, for people")
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--lang", action="append")
    options = parser.parse_args()
    registry, base = load_plugins(), open_tokenizer(options.base)
    english = read_base_text(["wordfreq:en"], registry)
    rows = []
    for code in options.lang or sorted(registry.languages):
        path = options.texts / f"{code}.txt"
        if not path.is_file():
            print(f"{code}: no {path.name}", file=sys.stderr)
            continue
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        language = registry.language(code)
        rows.append(
            measure(registry, language, base, text_of(registry, language, base, lines), options.size, english)
        )
        print(rows[-1], flush=True)
    name = options.name.lower().replace(" ", "-")
    save(f"languages-{name}", {"base": options.name, "family": base.family, "size": options.size, "rows": rows})


def text_of(registry: Registry, language: Language, base: Tokenizer, lines: list[str]) -> Text:
    """Return what there is of a language: its list of words, or most of the paragraphs."""
    cut = SpanCutter(base.preparer(), language)
    if language.sample_corpus:
        corpus = open_corpus([language.sample_corpus], registry=registry)
        spans = count_spans(corpus, cut, workers=1, max_memory=1 << 30).counts
        return Text(language.sample_corpus, spans, 2, lines)
    train = [line for n, line in enumerate(lines) if n % 3 != 2]
    return Text("two thirds", Counter(span for line in train for span in cut(line, True, True)), 1, lines[2::3])


def measure(
    registry: Registry, language: Language, base: Tokenizer, text: Text, size: int, english: BaseText
) -> dict[str, Any]:
    """Return what `size` tokens do to the held-out lines; failed guarantees are named."""
    rules = TokenRules(language, base.preparer().mark, frozenset(base.special_tokens), language.max_token_length)
    weights = np.fromiter(text.spans.values(), np.int64, len(text.spans))

    def learn(refused: frozenset[bytes]) -> list[NewToken]:
        return learn_merges(
            base,
            base.units(list(text.spans)),
            weights,
            size=size,
            may_learn=lambda token: token not in refused and rules(token),
            min_count=text.min_count,
        )

    if language.max_drift:
        tokens = learn_within(base, language, english, language.max_drift, learn).tokens
    else:
        tokens = learn(frozenset())
    with tempfile.TemporaryDirectory() as folder:
        extended = extend(
            base,
            Vocabulary(tokens=tuple(tokens)),
            language,
            registry.merger(language.merger),
            Path(folder) / "out",
            texts=text.held_out,
            base_text=english.measured_on if language.max_drift else (),
            arguments={},
        )
    both = (base, extended.tokenizer)
    characters = sum(map(len, text.held_out))
    before, after = (sum(map(len, tokenizer.encode(text.held_out))) / characters for tokenizer in both)
    row: dict[str, Any] = {
        "code": language.code,
        "learned_from": text.name,
        "new_tokens": len(tokens),
        "before": round(before, 3),
        "after": round(after, 3),
        "failed": {check.name: check.detail for check in extended.certificate.checks if not check.ok},
    }
    if language.max_drift:
        row["drift"] = next(check.detail for check in extended.certificate.checks if check.name == "G5")
    if language.segment:
        cut_lines = (piece for line in text.held_out for piece in language.segment(line))
        words = [word for word in cut_lines if len(word) > 1 and any(map(language.owns, word))]
        whole = (sum(whole_words(tokenizer, words)) for tokenizer in both)
        row["whole_words"] = [round(number / max(1, len(words)), 3) for number in whole]
    return row


def whole_words(tokenizer: Tokenizer, words: list[str]) -> list[bool]:
    """Return which words are one token, after a space or without one."""
    ways = (tokenizer.encode_bare([f"{mark}{w}".encode() for w in words]) for mark in ("", tokenizer.preparer().mark))
    return [len(bare) == 1 or len(after) == 1 for bare, after in zip(*ways, strict=True)]


if __name__ == "__main__":
    main()
