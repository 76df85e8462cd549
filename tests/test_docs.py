"""What the documents say is what happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import ROOT
from third_party import Environment

from vocabkit import check_language, hookspecs
from vocabkit.plugins import load_plugins
from vocabkit.report.advise import COVERED, LARGE_GAIN, SMALL_BUDGET, STARVED, TIMES
from vocabkit.report.cost import BYTES, TRAINING_BYTES, TRAINING_FLOPS

# Chinese pages are written for their readers; what is typed is the same.
TRANSLATED = [("README.md", "README.zh.md"), ("docs/tutorial.md", "docs/tutorial.zh.md")]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Return the language of each code block, and its lines without what is explained after two spaces."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(kind, [re.split(r" {2,}", line.strip())[0] for line in body.splitlines()]) for kind, body in found]


def figures(text: str) -> set[str]:
    """Return the numbers of two digits or more in the prose of a page."""
    prose = re.sub(r"^```.*?^```$|`[^`]*`|\]\([^)]*\)", " ", text, flags=re.DOTALL | re.MULTILINE)
    return set(re.findall(r"(?<![A-Za-z0-9.,-])\d[\d.,]*\d", prose))


def test_the_tutorial_runs_from_top_to_bottom(tmp_path: Path) -> None:
    # The Chinese page has the same commands, see below.
    commands = [line[2:] for kind, lines in blocks(read("docs/tutorial.md")) if kind == "console" for line in lines]
    assert len(commands) >= 6
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in commands:
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path},
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.parametrize(("english", "chinese"), TRANSLATED)
def test_a_chinese_page_has_the_commands_of_the_english_one_in_their_order(english: str, chinese: str) -> None:
    assert len(blocks(read(english))) >= 5
    assert blocks(read(chinese)) == blocks(read(english))


@pytest.mark.parametrize(("english", "chinese"), TRANSLATED)
def test_a_chinese_page_claims_no_figure_of_its_own(english: str, chinese: str) -> None:
    pages = [ROOT / "README.md", ROOT / "benchmarks" / "LOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    sources = [page for page in pages if not page.name.endswith(".zh.md")]
    known = set().union(*(figures(page.read_text(encoding="utf-8")) for page in sources))
    assert figures(read(english)) & figures(read(chinese))
    assert not figures(read(chinese)) - known


@pytest.mark.parametrize("pair", TRANSLATED)
def test_pages_in_two_languages_lead_to_each_other_and_to_files_that_exist(pair: tuple[str, str]) -> None:
    for name, other in (pair, pair[::-1]):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", read(name))
        assert Path(other).name in links
        assert not [link for link in links if not (ROOT / name).parent.joinpath(link).exists()]


@pytest.mark.parametrize("chinese", [chinese for _, chinese in TRANSLATED])
def test_chinese_pages_keep_to_chinese_typography(chinese: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", read(chinese), flags=re.DOTALL | re.MULTILINE)
    # Code and links stand between spaces too; what is in them is not ours to space.
    prose = re.sub(r"\]\([^)]*\)", "]", prose)
    prose = re.sub(r"`[^`]*`", "code", prose)
    assert not re.findall(r"[\u4e00-\u9fff][,;:!?()]|[,;:!?()][\u4e00-\u9fff]", prose)
    assert not re.findall(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]", prose)


STORY = ROOT / "docs" / "writing-a-language-plugin.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?( \+)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_story_of_a_language_plugin_runs_from_top_to_bottom(tmp_path: Path) -> None:
    environment, folder = Environment(tmp_path / "venv"), tmp_path
    commands, written, not_run = 0, [], []
    for kind, name, more, text in BLOCK.findall(STORY.read_text(encoding="utf-8")):
        if kind != "console":
            (folder / name).parent.mkdir(exist_ok=True)
            with (folder / name).open("a" if more else "w", encoding="utf-8") as file:
                file.write(f"\n\n{text}" if more else text)
            written.append(name)
            continue
        if name == "not-run":
            not_run += [line for line in text.splitlines() if line.startswith("$ ")]
            continue
        for command, shown in commands_of(text):
            commands += 1
            if command.startswith("cd "):
                folder = folder / command[3:]
                continue
            done = environment.run("sh", "-c", command, cwd=folder)
            printed = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
            is_said_to_fail = any(line.startswith(("error: ", "BROKEN: ")) for line in shown)
            assert done.returncode == is_said_to_fail, f"{command}: {done.stdout}{done.stderr}"
            for line in shown:
                assert any(real.startswith(line.strip()) for real in printed), f"{command}: {line!r}: {printed}"
    assert commands >= 20
    assert written.count("vocabkit_dzongkha.py") == 4
    # Only what leaves this machine is not run.
    assert not_run == ["$ pip install twine", "$ twine upload dist/*"]


def commands_of(block: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a console block, each with the lines that are shown below it."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(part.splitlines()[0], part.splitlines()[1:]) for part in parts]


def test_every_fence_of_the_story_is_one_that_is_run() -> None:
    text = STORY.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(BLOCK.findall(text))
    assert {kind for kind, *_ in BLOCK.findall(text)} == {"console", "python", "text"}
    assert all(name for kind, name, *_ in BLOCK.findall(text) if kind != "console")


def test_pages_about_plugins_name_each_other_and_links_lead_somewhere() -> None:
    pages = [STORY, ROOT / "docs" / "plugins.md", ROOT / "plugins" / "vocabkit-tibetan" / "README.md"]
    for page in pages:
        links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        assert links, page
        for link in links:
            assert (page.parent / link).exists(), f"{page.name}: {link}"
    assert "plugins.md" in pages[0].read_text(encoding="utf-8")
    assert "writing-a-language-plugin.md" in pages[1].read_text(encoding="utf-8")


def test_tables_of_measurements_are_those_of_the_newest_results() -> None:
    script = ROOT / "docs" / "make_measured.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_measured_figures_outside_of_tables_are_in_the_results_of_their_benchmarks() -> None:
    page = read("docs/guarantees.md")
    hindi = next(row for row in newest("pretokenizer-llama3")["rows"] if row["code"] == "hi")
    assert f"Hindi: {hindi['keep']['before']:.3f} to {hindi['extend']['before']:.3f} a character" in page
    merges = newest("published-merge")
    for one in (merges["published"], merges["default"]):
        assert one["certificate"]["G3"].startswith("1,112,064 Unicode scalars")
    assert f"{0x110000 - 2048:,} Unicode scalars" in page
    assert "345 of" in merges["published"]["certificate"]["G6"]


def test_every_benchmark_that_a_page_names_beside_a_figure_is_there() -> None:
    for page in ("docs/guarantees.md", "docs/should-i-extend.md"):
        named = re.findall(r"`python (benchmarks/\w+\.py)([^`]*)`", read(page))
        assert named, page
        for script, arguments in named:
            text = read(script)
            for option in re.findall(r"--[a-z-]+", arguments):
                assert f'"{option}"' in text, f"{page}: {script} has no {option}"


def test_predictions_were_within_two_percent_of_what_extend_made() -> None:
    result = newest("predictions")
    assert set(result["greatest"]) == {
        "tokens_per_character", "new_rows", "new_parameters", "weight_bytes", "base_parameters",
    }  # fmt: skip
    assert max(result["greatest"].values()) <= 0.02
    pairs = {(row["base"], row["code"]) for row in result["rows"]}
    assert len({base for base, _ in pairs}) == 6
    assert len({code for _, code in pairs}) == 5
    assert len(pairs) == 30
    assert not [row["wrong"] for row in result["rows"] if row["wrong"]]


def test_the_limits_of_advice_are_those_of_the_page() -> None:
    page = " ".join(read("docs/should-i-extend.md").split())
    assert f"could not become {COVERED:g} times shorter" in page
    assert f"more than one new row of {1 / STARVED:.0f}" in page.replace("twenty", "20")
    assert f"fewer than {TIMES} examples" in page
    assert f"below {SMALL_BUDGET / 1e9:g} billion tokens" in page.replace("half a", "0.5")
    assert f"less than {LARGE_GAIN:g} times shorter" in page
    assert f"{BYTES + TRAINING_BYTES} bytes for each new value" in page
    assert f"({TRAINING_FLOPS} FLOPs a parameter" in page


def newest(name: str) -> Any:
    """Return the newest result of a benchmark."""
    paths = sorted((ROOT / "benchmarks" / "results").glob(f"????-??-??-{name}-*-core-*.json"))
    return json.loads(paths[-1].read_text(encoding="utf-8"))


def test_every_hook_is_documented() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    hooks = [name for name in vars(hookspecs) if name.startswith("register_")]
    assert len(hooks) == 7
    for name in hooks:
        argument = getattr(hookspecs, name).__code__.co_varnames[0]
        assert f"`{name}({argument})`" in text


def test_the_language_of_the_plugin_page_keeps_the_contract() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    scope: dict[str, object] = {}
    exec(code, scope)
    check_language(scope["DZONGKHA"])  # type: ignore[arg-type]


def test_the_probe_of_the_measuring_page_is_one() -> None:
    class Subject:
        def answers(self, questions: tuple[str, ...], count: int) -> list[str]:
            return ["ལྷ་ས ok" for _ in questions]

    (code,) = re.findall(r"```python\n(.*?)```", read("docs/measuring.md"), re.DOTALL)
    page = ModuleType("page")
    exec(code, vars(page))
    registry = load_plugins({}, {"page": page})
    found = registry.probe("answers-in-tibetan")(Subject(), "bo")
    assert [item.value for item in found.items] == [4 / 7]


def test_the_readme_names_the_test_line_that_ci_runs() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    at = lines.index("<!-- test line -->")
    assert lines[at + 2].startswith("pip install -e '.[dev]'")
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_entry_points_and_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    import vocabkit

    assert project["version"] == vocabkit.__version__
    registry = load_plugins({})
    assert {plugin.name for plugin in registry.plugins} >= set(project["entry-points"]["vocabkit"])


def test_nothing_in_the_repository_names_a_path_of_one_machine() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".json"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?<![\w.])/(work|root|farm)/", text), name
