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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import save

from vocabkit import console
from vocabkit.cli.learning import LearningOptions, learn_vocabulary
from vocabkit.cli.texts import read_base_text
from vocabkit.language import Language
from vocabkit.plugins import Registry, load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.vocabulary.drift import BaseText
from vocabkit.vocabulary.extend import extend


@dataclass(frozen=True)
class Text:
    """What a language is learned from, and the lines that it is measured on.

    train: lines; () for the language's own list of words.
    """

    train: list[str]
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
        rows.append(measure(registry, language, base, text_of(language, lines), options.size, english))
        print(rows[-1], flush=True)
    name = options.name.lower().replace(" ", "-")
    save(f"languages-{name}", {"base": options.name, "family": base.family, "size": options.size, "rows": rows})


def text_of(language: Language, lines: list[str]) -> Text:
    """Return what there is of a language: its list of words, or most of the paragraphs."""
    if language.sample_corpus:
        return Text([], lines)
    return Text([line for n, line in enumerate(lines) if n % 3 != 2], lines[2::3])


def measure(
    registry: Registry, language: Language, base: Tokenizer, text: Text, size: int, english: BaseText
) -> dict[str, Any]:
    """Return what `size` tokens, or as many as there are, do to the held-out lines; failed guarantees are named."""
    protected = english if language.max_drift else BaseText()
    with tempfile.TemporaryDirectory() as folder, console.progress(True) as progress:
        corpus = Path(folder) / "train.txt"
        corpus.write_text("\n".join(text.train), encoding="utf-8")
        options = LearningOptions(
            corpus=[str(corpus)] if text.train else [],
            max_length=None,
            min_count=1 if text.train else 2,
            bridges=True,
            max_drift=None,
            base_text=(),
            normalize=False,
            field="text",
            on_bad_text="error",
            workers=1,
            max_memory=1 << 30,
            pretokenizer="keep",
        )
        vocabulary, _ = learn_vocabulary(registry, base, language, size, options, progress, protected, or_fewer=True)
        extended = extend(
            base,
            vocabulary,
            language,
            registry.merger(language.merger),
            Path(folder) / "out",
            texts=text.held_out,
            base_text=protected.measured_on,
            arguments={},
        )
    both = (base, extended.tokenizer)
    characters = sum(map(len, text.held_out))
    before, after = (sum(map(len, tokenizer.encode(text.held_out))) / characters for tokenizer in both)
    row: dict[str, Any] = {
        "code": language.code,
        "learned_from": "two thirds" if text.train else language.sample_corpus,
        "new_tokens": len(vocabulary),
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
