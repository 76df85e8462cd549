"""Folders appear whole or not at all."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vocabkit.errors import VocabkitError
from vocabkit.files import MANIFEST, whole_folder


def write(target: Path, content: str, *, force: bool = False) -> None:
    with whole_folder(target, force=force) as folder:
        (folder / MANIFEST).write_text("{}")
        (folder / "file").write_text(content)


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "out") as folder:
            (folder / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_needs_force_and_a_failed_one_keeps_the_old(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(VocabkitError, match="out exists; choose another --output, or replace it with --force"):
        write(tmp_path / "out", "new")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out", force=True):
        raise RuntimeError
    assert (tmp_path / "out" / "file").read_text() == "old"
    write(tmp_path / "out", "new", force=True)
    assert (tmp_path / "out" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_force_never_replaces_what_vocabkit_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("ten years")
    with pytest.raises(VocabkitError, match="was not written by vocabkit"):
        write(tmp_path / "home", "new", force=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "ten years"


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(VocabkitError, match="out is a file"):
        write(tmp_path / "out", "new")


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    leftover = tmp_path / f".out.{finished.pid}.partial"
    leftover.mkdir()
    (leftover / "file").write_text("half")
    write(tmp_path / "out", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


KILLED = """
import sys
from pathlib import Path
from vocabkit.files import whole_folder
generation = 0
while True:
    generation += 1
    with whole_folder(Path(sys.argv[1]), force=True) as folder:
        for name in ("vocabkit.json", "a", "b", "c"):
            (folder / name).write_text(f"{generation} " * 2000)
    print(generation, flush=True)
"""


def test_kill_9_at_any_instant_leaves_the_old_or_the_new_and_never_half(tmp_path: Path) -> None:
    generator = random.Random(7)
    target = tmp_path / "out"
    for _ in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, env={**os.environ}
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(generator.random() * 0.02)
        process.kill()
        process.wait()
        process.stdout.close()
        # Between two renames the old folder has another name; it is whole under one of the two.
        folders = [target, *tmp_path.glob(".out.*.old.partial")]
        whole = [folder for folder in folders if (folder / "c").is_file()]
        assert whole
        if target.exists():
            contents = {(target / name).read_text() for name in ("vocabkit.json", "a", "b", "c")}
            assert len(contents) == 1
