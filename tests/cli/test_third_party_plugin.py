"""plugins/vocabkit-tibetan as a stranger meets it: a wheel that is built, installed, used and uninstalled."""

from __future__ import annotations

import difflib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from support import ROOT, data_file
from third_party import Environment

from vocabkit.scaffold import write_project

pytest.importorskip("hatchling")
pytest.importorskip("pip")

PROJECT = ROOT / "plugins" / "vocabkit-tibetan"
# Lines of a print: they end anywhere, and leaves are numbered.
PECHA = """\
[1a] ༄༅། །རྫོང་ཁ་འདི་ འབྲུག་གི་རྒྱལ་
ཡོངས་སྐད་ཡིག་ཨིན། འབྲུག་གི་
[1b] ༄༅། །རྒྱལ་ས་ ཐིམ་ཕུག་ཨིན། ང་
འབྲུག་པ་ཨིན། ང་རྫོང་ཁ་སླབ་ཚུགས།

"""


class Stranger(Environment):
    """Somebody with the plugin's wheel installed."""

    def json(self, *arguments: str) -> Any:
        done = self.run("vocabkit", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = Environment(folder / "venv").run("pip", "wheel", "--quiet", "--wheel-dir", str(folder), str(PROJECT))
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stranger, dict[str, Any]]:
    stranger = Stranger(tmp_path_factory.mktemp("stranger") / "venv")
    return stranger, {name: stranger.json(name) for name in ("plugins", "languages")}


@pytest.fixture(scope="module")
def stranger(before: tuple[Stranger, dict[str, Any]], wheel: Path) -> Stranger:
    installed = before[0].run("pip", "install", "--quiet", str(wheel))
    assert installed.returncode == 0, installed.stderr
    return before[0]


@pytest.fixture
def pecha(tmp_path: Path) -> Path:
    folder = tmp_path / "pecha"
    folder.mkdir()
    (folder / "one.txt").write_text(PECHA * 20, encoding="utf-8")
    return folder


def test_the_wheel_holds_the_plugin_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"vocabkit_tibetan", "vocabkit_tibetan-0.1.0.dist-info"}


def test_it_is_listed_with_all_that_it_offers(stranger: Stranger) -> None:
    (plugin,) = (row for row in stranger.json("plugins") if row["distribution"] == "vocabkit-tibetan")
    assert plugin["error"] is None
    assert plugin["offers"] == [
        "language dz", "language xct", "corpus reader pecha", "initializer tibetan-syllable", "command tibetan",
    ]  # fmt: skip
    languages = {row["code"]: row for row in stranger.json("languages")}
    assert languages["dz"]["name"] == "Dzongkha"
    assert {"dz", "xct", "bo", "zh"} <= set(languages)


def test_its_own_tests_pass(stranger: Stranger) -> None:
    tested = stranger.run("pytest", "-q", "-p", "no:cacheprovider", str(PROJECT / "tests"), cwd=PROJECT)
    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout
    assert "skipped" not in tested.stdout


@pytest.mark.parametrize("code", ["dz", "xct"])
def test_its_languages_can_be_taught_to_a_base(stranger: Stranger, pecha: Path, code: str) -> None:
    (row,) = stranger.json("languages", "check", code, "--base", "starter", "--corpus", f"pecha:{pecha}")
    assert (row["code"], row["ok"]) == (code, True)
    assert row["bases"][0]["after"] < row["bases"][0]["before"] / 2


def test_its_language_is_taught_from_real_text(stranger: Stranger) -> None:
    text = data_file("udhr/dz.txt")
    (row,) = stranger.json("languages", "check", "dz", "--base", "starter", "--corpus", str(text))
    assert row["ok"]
    assert row["bases"][0]["new_tokens"] > 500


def test_a_model_is_extended_with_its_language_reader_and_initialiser(
    stranger: Stranger, pecha: Path, smollm2_folder: Path, tmp_path: Path
) -> None:
    model = tiny_models.tiny(tmp_path / "model", smollm2_folder, tied=False)
    arguments = ("--base", str(model), "--corpus", f"pecha:{pecha}", "--size", "30", "--init", "tibetan-syllable")
    made = stranger.json("extend", "--lang", "dz", *arguments, "-o", str(tmp_path / "out"))
    assert made["new_tokens"] == 30
    assert made["weights"]["init"] == "tibetan-syllable"
    certificate = {check["name"]: check["ok"] for check in made["certificate"]["checks"]}
    assert certificate["G10"]
    assert all(certificate.values())
    vocabulary = (tmp_path / "out" / "vocabulary.jsonl").read_text(encoding="utf-8")
    assert any("\u0f40" <= character <= "\u0fbc" for character in vocabulary)
    # Nothing of the print was learned: no head mark, and no folio number.
    assert "༄" not in vocabulary


def test_its_command_looks_like_any_other(stranger: Stranger, pecha: Path) -> None:
    assert "tibetan" in stranger.run("vocabkit", "--help").stdout
    counted = stranger.json("tibetan", "syllables", f"pecha:{pecha}", "--top", "2")
    assert {row["syllable"]: row["count"] for row in counted["most_frequent"]} == {"འབྲུག": 60, "ཨིན": 60}
    missing = stranger.run("vocabkit", "tibetan", "syllables", "pecha:nowhere")
    assert missing.returncode == 1
    assert missing.stderr == "error: pecha:nowhere does not exist; name a file, or a folder of .txt files\n"


def test_uninstalled_it_leaves_everything_as_it_was(stranger: Stranger, before: tuple[Stranger, Any]) -> None:
    assert stranger.run("pip", "uninstall", "--quiet", "--yes", "vocabkit-tibetan").returncode == 0
    assert {name: stranger.json(name) for name in ("plugins", "languages")} == before[1]
    gone = stranger.run("vocabkit", "languages", "check", "dz")
    assert gone.returncode == 1
    assert gone.stderr.startswith("error: unknown language or module 'dz'")


def test_its_project_file_is_the_one_that_languages_new_writes(tmp_path: Path) -> None:
    write_project("dz", "Tibetan", "རྫོང་ཁ།", tmp_path)
    written = (tmp_path / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    ours = (PROJECT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    changed = [line for line in difflib.ndiff(written, ours) if line.startswith("+ ")]
    assert changed == [
        '+ description = "Dzongkha, Classical Tibetan and pecha texts for vocabkit"',
        "+ # This is how vocabkit finds the languages once the package is installed.",
        '+ tibetan-texts = "vocabkit_tibetan"',
        '+ only-include = ["vocabkit_tibetan"]',
    ]
