"""Every bundled language on one base: tokens per character before and after, and the whole certificate.

    python benchmarks/languages.py --texts udhr/ --base starter [--size 400] [--lang bo ...]

--texts: a folder with CODE.txt, one paragraph a line; two of three are learned from, the third is measured.
A small text supports fewer tokens than --size; `new_tokens` says how many.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from harness import save

from vocabkit.language import Language
from vocabkit.plugins import Registry, load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.vocabulary.continued_bpe import learn_merges
from vocabkit.vocabulary.extend import extend
from vocabkit.vocabulary.spans import SpanCutter, TokenRules
from vocabkit.vocabulary.vocabulary_file import Vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--lang", action="append")
    options = parser.parse_args()
    registry, base = load_plugins(), open_tokenizer(options.base)
    rows = []
    for code in options.lang or sorted(registry.languages):
        path = options.texts / f"{code}.txt"
        if not path.is_file():
            print(f"{code}: no {path.name}", file=sys.stderr)
            continue
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows.append(measure(registry, registry.language(code), base, lines, options.size))
        print(rows[-1], flush=True)
    save(f"languages-{base.family.replace('_', '-')}", {"base": base.source.name, "size": options.size, "rows": rows})


def measure(registry: Registry, language: Language, base: Tokenizer, lines: list[str], size: int) -> dict[str, Any]:
    """Return what `size` tokens, learned from two lines of three, do to the others; failed guarantees are named."""
    train, held_out = [line for n, line in enumerate(lines) if n % 3 != 2], lines[2::3]
    cut = SpanCutter(base.preparer(), language)
    spans = Counter(span for line in train for span in cut(line, True, True))
    rules = TokenRules(language, base.preparer().mark, frozenset(base.special_tokens), language.max_token_length)
    weights = np.fromiter(spans.values(), np.int64, len(spans))
    tokens = learn_merges(base, base.units(list(spans)), weights, size=size, may_learn=rules)
    with tempfile.TemporaryDirectory() as folder:
        extended = extend(
            base,
            Vocabulary(tokens=tuple(tokens)),
            language,
            registry.merger(language.merger),
            Path(folder) / "out",
            texts=lines,
            arguments={},
        )
    both = (base, extended.tokenizer)
    characters = sum(map(len, held_out))
    before, after = (sum(map(len, tokenizer.encode(held_out))) / characters for tokenizer in both)
    row: dict[str, Any] = {
        "code": language.code,
        "new_tokens": len(tokens),
        "before": round(before, 3),
        "after": round(after, 3),
        "failed": {check.name: check.detail for check in extended.certificate.checks if not check.ok},
    }
    if language.segment:
        cut_lines = (piece for line in held_out for piece in language.segment(line))
        words = [word.encode() for word in cut_lines if len(word) > 1 and any(map(language.owns, word))]
        whole = (sum(len(ids) == 1 for ids in tokenizer.encode_bare(words)) for tokenizer in both)
        row["whole_words"] = [round(number / max(1, len(words)), 3) for number in whole]
    return row


if __name__ == "__main__":
    main()
