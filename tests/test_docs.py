"""What the documents say is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from support import ROOT

from vocabkit import check_language, hookspecs
from vocabkit.plugins import load_plugins


def test_the_tutorial_runs_from_top_to_bottom(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    commands = [
        line[2:] for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]
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


def test_every_hook_is_documented() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    hooks = [name for name in vars(hookspecs) if name.startswith("register_")]
    assert len(hooks) == 6
    for name in hooks:
        argument = getattr(hookspecs, name).__code__.co_varnames[0]
        assert f"`{name}({argument})`" in text


def test_the_language_of_the_plugin_page_keeps_the_contract() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    scope: dict[str, object] = {}
    exec(code, scope)
    check_language(scope["DZONGKHA"])  # type: ignore[arg-type]


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
