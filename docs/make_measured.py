"""Fill the tables of docs/should-i-extend.md and docs/guarantees.md from the newest results of the benchmarks.

A table stands between `<!-- measured: NAME -->` and `<!-- end -->`; --check says whether a page has other figures.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vocabkit.plugins import load_plugins

ROOT = Path(__file__).resolve().parent.parent
BASES = {
    "llama": "LLaMA",
    "mistral-v1": "Mistral v1",
    "smollm2": "SmolLM2",
    "llama-3": "Llama-3",
    "qwen": "Qwen",
    "deepseek": "DeepSeek",
}
FIGURES = {
    "tokens_per_character": "tokens per character",
    "new_rows": "new rows",
    "new_parameters": "new parameters",
    "weight_bytes": "bytes of new weights",
    "base_parameters": "parameters of the base",
}


def main() -> int:
    stale = []
    for page, name, make in (
        ("should-i-extend.md", "predictions", predictions),
        ("guarantees.md", "published-merge", published_merge),
    ):
        path = ROOT / "docs" / page
        text = path.read_text(encoding="utf-8")
        new = filled(text, name, make)
        if new != text:
            stale.append(page)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"{', '.join(stale)}: not what the newest results say; run `make docs`", file=sys.stderr)
        return 1
    return 0


def newest(name: str) -> dict[str, Any]:
    """Return the newest result of a benchmark."""
    dated = re.compile(rf"\d{{4}}-\d\d-\d\d-{re.escape(name)}-\d+-core-\w+\.json")
    paths = (ROOT / "benchmarks" / "results").glob(f"*-{name}-*.json")
    path = max(path for path in paths if dated.fullmatch(path.name))
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def filled(text: str, name: str, make: Callable[[dict[str, Any]], str]) -> str:
    """Return a page with one table made anew."""
    before, rest = text.split(f"<!-- measured: {name} -->\n")
    after = rest[rest.index("<!-- end -->") :]
    return f"{before}<!-- measured: {name} -->\n{make(newest(name))}{after}"


def predictions(result: dict[str, Any]) -> str:
    """Return what was predicted beside what was measured, and by how much it was missed."""
    registry = load_plugins({})
    text = "| base | language | verdict | before | new tokens | predicted | measured | new rows |\n"
    text += "|---|---|---|--:|--:|--:|--:|--:|\n"
    for row in result["rows"]:
        language, verdict = registry.language(row["code"]).name, row["verdict"]
        if verdict == "against":
            verdict += f": {row['reasons'][-1].split(':')[0]}"
        for point in row["points"]:
            said, real = point["predicted"], point["real"]
            lengths = (row["before"], said["tokens_per_character"], real["tokens_per_character"])
            before, predicted, measured = (f"{length:.3f}" for length in lengths)
            rows = f"{real['new_rows']:,}"
            if said["new_rows"] != real["new_rows"]:
                rows += f", predicted {said['new_rows']:,}"
            cells = (before, f"{point['size']:,}", predicted, measured, rows)
            text += f"| {BASES[row['base']]} | {language} | {verdict} | {' | '.join(cells)} |\n"
    text += "\n| | greatest deviation |\n|---|--:|\n"
    for name, share in result["greatest"].items():
        text += f"| {FIGURES[name]} | {share:.2%} |\n"
    return text


def published_merge(result: dict[str, Any]) -> str:
    """Return the certificates of the published merge and of the default, line by line where they differ."""
    published, default = result["published"], result["default"]
    text = "| | published merge | default |\n|---|---|---|\n"
    text += f"| new tokens | {published['new_tokens']:,} | {default['new_tokens']:,} |\n"
    lengths = (" -> ".join(f"{n:.3f}" for n in one["tokens_per_character"]) for one in (published, default))
    text += f"| tokens per character | {' | '.join(lengths)} |\n"
    for name in published["certificate"]:
        details = [
            f"{'fails: ' if name in one['failed'] else ''}{one['certificate'][name]}" for one in (published, default)
        ]
        if name in published["failed"] or name in default["failed"]:
            text += f"| {name} | {' | '.join(details)} |\n"
    return text


if __name__ == "__main__":
    sys.exit(main())
