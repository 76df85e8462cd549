"""`vocabkit bench code-switching` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vocabkit import VocabkitError
from vocabkit.measure.answers import Answer, read_answers

pytest.importorskip("py3langid", reason="pip install 'vocabkit[languages]'")

RECORDS = [
    {"prompt": "天气怎么样？", "text": "天气很nice。", "finish_reason": "stop"},
    {"messages": [{"role": "user", "content": "什么是overfitting？"}], "text": "overfitting是一种现象。"},
    {"prompt": "你好", "text": "你好！"},
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vocabkit", "bench", "code-switching", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    return path


def test_files_are_rows_of_one_table(answers: Path, tmp_path: Path) -> None:
    references = tmp_path / "references.txt"
    references.write_text("天气很好。\n\n过拟合是一种现象。\n", encoding="utf-8")
    done = run(str(answers), str(references), "--lang", "zh", "--json")
    assert done.returncode == 0, done.stderr
    mine, theirs = json.loads(done.stdout)["rows"]
    assert (mine["samples"], mine["raw"]["samples"], mine["filtered"]["samples"]) == (3, 2, 1)
    assert mine["filtered"]["others"] == {"Latin": 1}
    assert mine["filtered"]["low"] < mine["filtered"]["share"] < mine["filtered"]["high"]
    assert (theirs["samples"], theirs["raw"]["samples"]) == (2, 0)


def test_the_table_shows_both_counts(answers: Path) -> None:
    done = run(str(answers), "--lang", "zh")
    assert done.returncode == 0, done.stderr
    raw, filtered = (line for line in done.stdout.splitlines() if "66.7%" in line or "33.3%" in line)
    assert "raw" in raw
    assert "Latin 2" in raw
    assert "filtered" in filtered
    assert "Latin 1" in filtered


def test_what_cannot_be_told_apart_is_noted(answers: Path) -> None:
    done = run(str(answers), "--lang", "id", "--scripts-only")
    assert done.returncode == 0, done.stderr
    assert "not told apart from id: en" in done.stderr


def test_what_generate_prints_is_read(tmp_path: Path) -> None:
    several, one = tmp_path / "several.json", tmp_path / "one.json"
    several.write_text(json.dumps({"results": RECORDS}), encoding="utf-8")
    one.write_text(json.dumps(RECORDS[0]), encoding="utf-8")
    assert [answer.prompt for answer in read_answers(several)] == ["天气怎么样？", "什么是overfitting？", "你好"]
    assert read_answers(one) == [Answer("天气很nice。", "天气怎么样？")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": 1}\n', "line 1 has no text in the field 'text'"),
        ("a.jsonl", '{"answer": "x"}\n', "name it with --field"),
        ("a.jsonl", '{"text": "x"}\n{broken\n', "line 2 is not JSON"),
        ("a.jsonl", '"text"\n', "line 1 is no JSON object"),
        ("a.json", "3", "neither a record nor a list"),
        ("a.jsonl", "\n", "holds no answer"),
        ("a.txt", "  \n", "holds no answer"),
    ],
)
def test_bad_files_are_said_in_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(VocabkitError, match=message) as error:
        read_answers(path)
    assert "\n" not in str(error.value)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("天气".encode("gb18030"))
    with pytest.raises(VocabkitError, match="is not UTF-8"):
        read_answers(path)


def test_an_unknown_language_ends_with_one_line(answers: Path) -> None:
    done = run(str(answers), "--lang", "qq")
    assert done.returncode == 1
    assert done.stderr.startswith("error: language 'qq'")
    assert done.stderr.count("\n") == 1
