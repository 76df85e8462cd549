"""The section of a model card: what it says, and that nothing else in the card is touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vocabkit.cli import build_cli
from vocabkit.errors import VocabkitError
from vocabkit.manifest import changed_files, read_manifest
from vocabkit.plugins import Registry
from vocabkit.report.card import BEGIN, END, placed


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return shutil.copytree(made, tmp_path / "llm-zh")


def run(registry: Registry, *arguments: str) -> Result:
    return CliRunner().invoke(build_cli(registry), ["report", *arguments], obj=registry)


def test_the_section_goes_into_the_card_and_the_manifest_knows(registry: Registry, folder: Path) -> None:
    before = (folder / "README.md").read_text(encoding="utf-8")
    assert run(registry, str(folder), "--into-card").exit_code == 0
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith(before)
    assert card.count(BEGIN) == card.count(END) == 1
    assert "| G6 | ok |" in card
    manifest = read_manifest(folder)
    assert manifest
    assert changed_files(folder, manifest) == []
    # Again, by the name of the card: the section is replaced, and words after it stay.
    (folder / "README.md").write_text(f"{card}\nThe end.\n", encoding="utf-8")
    assert run(registry, str(folder), "-o", str(folder / "README.md")).exit_code == 0
    assert (folder / "README.md").read_text(encoding="utf-8") == f"{card}\nThe end.\n"


def test_the_section_goes_to_stdout_when_no_file_is_named(registry: Registry, made: Path) -> None:
    result = run(registry, str(made), "--format", "markdown")
    assert result.exit_code == 0
    assert result.stdout.startswith(BEGIN)
    assert result.stdout.endswith(f"{END}\n")
    assert "| tokens | 32,000 | 32,600 |" in result.stdout


def test_a_card_keeps_its_line_ends_and_gets_one_section() -> None:
    section = f"{BEGIN}\nnew\n{END}\n"
    path = Path("README.md")
    assert placed(section, "", path) == section
    assert placed(section, "a", path) == f"a\n\n{section}"
    assert placed(section, f"a\r\n{BEGIN}\r\nold\r\n{END}\r\nb\r\n", path) == f"a\r\n{BEGIN}\nnew\n{END}\r\nb\r\n"


@pytest.mark.parametrize("card", [BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_card_with_half_a_section_is_not_touched(card: str) -> None:
    with pytest.raises(VocabkitError, match=r"README\.md needs one '<!-- vocabkit report -->' and one"):
        placed("", card, Path("README.md"))


def test_bad_input_gets_one_line(registry: Registry, folder: Path, tmp_path: Path, llama_path: Path) -> None:
    def fails(*arguments: str) -> str:
        result = run(registry, *arguments)
        assert result.exit_code != 0
        text = str(result.exception) if isinstance(result.exception, VocabkitError) else result.stderr
        return text.strip().splitlines()[-1]

    page = tmp_path / "page.html"
    page.write_text("mine", encoding="utf-8")
    assert "exists; choose another --output" in fails(str(folder), "-o", str(page))
    assert page.read_text(encoding="utf-8") == "mine"
    assert "does not exist; make it" in fails(str(folder), "-o", str(tmp_path / "no" / "page.html"))
    assert "does not say what it was made from" in fails(str(llama_path), "-o", str(tmp_path / "p.html"))
    assert "nothing new to report" in fails(
        str(llama_path), "--against", str(llama_path), "-o", str(tmp_path / "p.html")
    )
    assert "holds no metrics.jsonl" in fails(str(folder), "--run", str(folder), "-o", str(tmp_path / "p.html"))
    assert "cannot write /proc/page.html" in fails(str(folder), "-o", "/proc/page.html")
    assert "is no folder, and has no README.md" in fails(str(llama_path), "--against", "starter", "--into-card")
    assert "a model card is Markdown" in fails(str(folder), "--into-card", "--format", "html")
    assert "cannot both go to stdout" in fails(str(folder), "--format", "markdown", "--json")
    assert not (tmp_path / "p.html").exists()
    manifest = json.loads((folder / "vocabkit.json").read_text(encoding="utf-8"))
    manifest["arguments"]["base"] = "gone.model"
    (folder / "vocabkit.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "name it with --against" in fails(str(folder), "-o", str(tmp_path / "p.html"))
    manifest["arguments"]["base"] = "starter"
    manifest["base"]["size"] = 49152
    (folder / "vocabkit.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "which had 49,152 tokens" in fails(str(folder), "-o", str(tmp_path / "p.html"))
