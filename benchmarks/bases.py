"""The default path on several real bases and sizes: what it gains, and whether every guarantee holds.

python benchmarks/bases.py BASE... [--size 6000 --size 20000] [--english FILE] [--code FILE]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from harness import save
from inputs import chinese_lines

from vocabkit.plugins import load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.vocabulary.extend import extend
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.merge import ranked
from vocabkit.vocabulary.spans import SpanCutter
from vocabkit.vocabulary.vocabulary_file import Vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bases", nargs="+")
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--english", type=Path, action="append", default=[])
    options = parser.parse_args()
    chinese = load_plugins().language("zh")
    lines = chinese_lines()
    held_out, train = lines[:3000], lines[3000:]
    english = [x for path in options.english for x in path.read_text(encoding="utf-8").splitlines() if x.strip()]
    rows = []
    for name in options.bases:
        base = open_tokenizer(name)
        spans = Counter(SpanCutter(base.preparer(), chinese)("\n".join(train), True, True))
        sizes = sorted(options.size or [6000, 20_000])
        start = time.perf_counter()
        tokens = learn(base, chinese, spans, size=sizes[-1], max_length=chinese.max_token_length)
        seconds = time.perf_counter() - start
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                result = extend(
                    base,
                    Vocabulary(tokens=tuple(tokens[:size])),
                    chinese,
                    ranked,
                    Path(folder) / "out",
                    texts=[*held_out, *english],
                    arguments={},
                )
            rows.append(
                {
                    "base": Path(name).name,
                    "family": base.family,
                    "base_size": base.size,
                    "new": size,
                    "bridges": len(result.merged.bridges),
                    "learn_seconds": round(seconds, 1),
                    "held_out_tokens": [sum(map(len, t.encode(held_out))) for t in (base, result.tokenizer)],
                    "failed": result.certificate.failed,
                    "details": {check.name: check.detail for check in result.certificate.checks},
                }
            )
            print(rows[-1], flush=True)
    save("bases", {"english_lines": len(english), "rows": rows})


if __name__ == "__main__":
    main()
