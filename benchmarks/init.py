"""Every initialiser at step 0: bits per byte of the extended model on held-out text, and what making the rows cost.

    python benchmarks/smollm2.py MODEL && apt-get install manpages-zh
    python benchmarks/init.py MODEL TEXT [--size 4000] [--held-out 60] [--init NAME]... [OPTIONS OF bench init]

TEXT has a paragraph of Chinese on each line: that Debian package through `man`, for one.  Some of its lines are
held out; the others are what the vocabulary is learned on, and what the fitted initialisers read.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from harness import save

SHORTEST = 40


def is_chinese(line: str) -> bool:
    """Return whether a line is long enough to score, and a third of it Chinese."""
    return len(line) > SHORTEST and sum("\u4e00" <= character <= "\u9fff" for character in line) > len(line) / 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--size", type=int, default=4_000)
    parser.add_argument("--held-out", type=int, default=60)
    parser.add_argument("--init", action="append", default=[])
    options, more = parser.parse_known_args()
    lines = sorted({line.strip() for line in options.text.read_text(encoding="utf-8").split("\n") if line.strip()})
    random.Random(0).shuffle(lines)
    held_out = [line for line in lines if is_chinese(line)][: options.held_out]
    kept = set(held_out)
    with tempfile.TemporaryDirectory() as folder:
        corpus, held = Path(folder, "corpus.txt"), Path(folder, "held-out.zh.txt")
        corpus.write_text("\n".join(line for line in lines if line not in kept), encoding="utf-8")
        held.write_text("\n".join(held_out), encoding="utf-8")
        english = str(files("vocabkit").joinpath("vocabulary", "english.txt"))
        command = [sys.executable, "-m", "vocabkit", "bench", "init", str(options.model), "--lang", "zh"]
        command += ["--corpus", str(corpus), "--text", str(held), "--text", english, "--size", str(options.size)]
        command += [part for name in options.init for part in ("--init", name)]
        done = subprocess.run([*command, *more, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    rows = json.loads(done.stdout)["rows"]
    for row in rows:
        for figure in ("bits_per_byte", "spread"):
            row[figure] = {Path(name).name: round(value, 4) for name, value in row[figure].items()}
        row |= {name: round(row[name], 5) for name in ("norm", "log_z", "log_z_max", "seconds")}
    text = "held-out.zh.txt"
    start, goal = (
        next(r for r in rows if r["initializer"] == n)["bits_per_byte"][text] for n in (NAIVE, "unextended")
    )
    save(
        "init",
        {
            "model": options.model.name,
            "new_tokens": options.size,
            "held_out": {"lines": len(held_out), "bytes": sum(len(line.encode()) for line in held_out)},
            "options": more,
            "share_of_the_loss_won_back": {
                row["initializer"]: round((start - row["bits_per_byte"][text]) / (start - goal), 3) for row in rows
            },
            "rows": rows,
        },
    )


# What the share won back is counted from.
NAIVE = "subword-mean"

if __name__ == "__main__":
    main()
