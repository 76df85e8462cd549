"""The example of the README, from an English model to one that reads Chinese, at a reduced size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT
from tiny_models import tiny

pytest.importorskip("transformers")
pytest.importorskip("snownlp")


def test_the_example_runs_from_top_to_bottom(smollm2_folder: Path, tmp_path: Path) -> None:
    base = tiny(tmp_path / "base", smollm2_folder, tied=True)
    environment = {
        **os.environ, "MODEL": str(base), "ROW_STEPS": "3", "STEPS": "3", "TOKENS": "200",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "VOCABKIT_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    out = tmp_path / "out"
    done = subprocess.run(
        ["bash", str(ROOT / "examples" / "cpu.sh"), str(out)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for run in ("rows", "pretrain"):
        lines = [json.loads(line) for line in (out / run / "metrics.jsonl").read_text().splitlines()]
        first, last = lines[0]["evaluated"], lines[-1]["evaluated"]
        assert last["target"] < first["target"], "Chinese is learned at every stage"
        assert last["base"] < first["base"] * 1.02
    assert "这家酒店的房间" in done.stdout.splitlines()[-1]
