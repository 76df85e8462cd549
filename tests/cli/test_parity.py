"""`vocabkit bench encode-length --parallel` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TEXTS = {
    "en": "Everyone may read this house's rules.\nThe door is open until nine.\n",
    "zh": "每个人都可以阅读这所房子的规则。\n大门一直开到晚上九点。\n",
    "bo": "ཁང་པ་འདིའི་སྒྲིག་གཞི་ཚང་མས་ཀློག་ཆོག\n",
    "qqq": "Kila mtu anaweza kusoma kanuni za nyumba hii.\nMlango uko wazi hadi saa tatu usiku.\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    for code, text in TEXTS.items():
        (tmp_path / "texts" / f"{code}.txt").write_text(text, encoding="utf-8")
    return tmp_path / "texts"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vocabkit", "bench", "encode-length", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def fails(code: int, message: str, *arguments: str) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert message in done.stderr.strip().splitlines()[-1]
    assert done.stdout == ""


def test_the_table_has_a_row_for_each_language_and_says_what_is_not_parallel(folder: Path) -> None:
    done = run("starter", "starter", "--parallel", str(folder))
    assert done.returncode == 0, done.stderr
    title, head, *rows = done.stdout.splitlines()
    assert title.strip() == "Tokens, English = 1 (2 lines)"
    assert head.split() == ["language", "code", "starter", "starter"]
    cells = [row.split() for row in rows]
    assert [cell[0] for cell in cells] == ["Tibetan", "qqq", "Chinese", "mean", "worst", "English,"]
    first = [float(cell[2]) for cell in cells[:3]]
    assert first == sorted(first, reverse=True)
    assert all(cell[2] == cell[3] for cell in cells[:3])
    assert cells[3][1:] == [f"{sum(first) / 3:.2f}"] * 2
    assert cells[4][1:] == ["bo", cells[0][2]] * 2
    assert "note: 1 of 3 files have not as many lines as en.txt (2); whole texts are compared: bo 1" in done.stderr


def test_json_is_one_document_with_the_picture_beside_it(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "premium.svg"
    arguments = ("starter", "--parallel", str(folder), "--reference", "zh", "--picture", str(picture))
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (row,) = document["rows"]
    assert set(row["premium"]) == {"en", "bo", "qqq"}
    assert row["premium"]["en"] < 1
    assert row["premium"]["en"] == pytest.approx(row["tokens"]["en"] / row["reference_tokens"], abs=1e-4)
    assert document["reference"] == "zh"
    assert {"code": "qqq", "name": "qqq", "lines": 2} in document["languages"]
    assert document["other_line_counts"] == {"bo": 1}
    assert document["picture"] == str(picture)
    assert "Chinese = 1" in picture.read_text(encoding="utf-8")
    fails(1, "premium.svg exists; choose another --picture, or replace it with --force", *arguments)
    assert run(*arguments, "--force").returncode == 0


def test_bad_folders_get_one_line(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    fails(1, "holds no CODE.txt; put a file for each language there", "starter", "--parallel", str(empty))
    fails(2, "does not exist", "starter", "--parallel", str(tmp_path / "nowhere"))
    parallel = ("starter", "--parallel", str(folder))
    fails(
        1,
        "holds no fr.txt; add it, or name another with --reference (bo, en, qqq, zh)",
        *parallel,
        "--reference",
        "fr",
    )
    (folder / "bo.txt").write_text("\n")
    fails(1, "bo.txt holds no text; fill it, or remove it", *parallel)
    (folder / "bo.txt").write_bytes("中".encode("gb18030"))
    fails(1, "bo.txt is not UTF-8 (byte 0xd6 at 0); save it as UTF-8", *parallel)
    fails(1, "is neither .png nor .svg", *parallel, "--picture", str(tmp_path / "p.pdf"))


def test_options_that_do_not_go_together_are_misuse(folder: Path) -> None:
    parallel = ("starter", "--parallel", str(folder))
    for more in (("--text", "a.txt"), ("--lang", "zh"), ("--field", "body")):
        fails(2, "--parallel brings its own texts; leave out --text, --lang and --field", *parallel, *more)
    for more in (("--reference", "en"), ("--picture", "p.png"), ("--force",)):
        fails(2, "belong to --parallel; name its folder", "starter", "--lang", "zh", *more)
    fails(2, "--force replaces a picture; name it with --picture", *parallel, "--force")
