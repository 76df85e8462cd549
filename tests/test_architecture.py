"""The house keeps its shape: who may import whom, and what an import costs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Lowest first: a module imports only from its own row's rooms below it, or from its own room.
ROWS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("copying", "files", "language"),
    ("manifest",),
    ("guarded", "hookspecs"),
    ("plugins", "scaffold"),
    ("corpus", "tokenizer", "rows"),
    ("model",),
    ("vocabulary", "fit", "train", "infer", "measure", "report", "diagnose"),
    # Experiments: what takes several stages in turn.
    ("ab",),
    ("console",),
    ("cli",),
    ("core_plugin", "__main__"),
)
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}


def modules() -> list[Path]:
    return sorted((ROOT / "vocabkit").rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "vocabkit").parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Return the rooms of vocabkit that a module imports, also inside functions; type-checking blocks excepted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "vocabkit":
                names |= {f"vocabkit.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("vocabkit.")}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_below(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    above = {other for other in imports_of(path) if other in LEVEL and other != room and LEVEL[other] >= LEVEL[room]}
    assert not above, f"{room} is below {above}"


def test_every_room_has_a_level() -> None:
    assert {room_of(path) for path in modules()} - {"__init__"} <= set(LEVEL)


def test_stages_meet_only_in_folders() -> None:
    stages = ROWS[7]
    for path in modules():
        if room_of(path) in stages:
            assert not (imports_of(path) & set(stages)) - {room_of(path)}


def test_kernels_do_not_know_vocabkit() -> None:
    for path in (ROOT / "kernels").rglob("*.py"):
        assert not imports_of(path)


def test_languages_use_only_the_public_names() -> None:
    for path in (ROOT / "plugins" / "vocabkit_languages").rglob("*.py"):
        assert imports_of(path) <= {"LATIN", "Language", "hookimpl", "check_language"}


def test_the_shelves_are_no_packages() -> None:
    # Hugging Face ships a package imported as `kernels`; ours must never shadow it.
    assert not (ROOT / "kernels" / "__init__.py").exists()
    assert not (ROOT / "plugins" / "__init__.py").exists()


def test_importing_vocabkit_is_light() -> None:
    heavy = "{'torch', 'transformers', 'numpy', 'rich'}"
    code = f"import vocabkit, vocabkit.cli, sys; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_help_costs_at_most_a_fifth_of_a_second() -> None:
    # Installed programs have their bytecode; the first run makes it here.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}

    def seconds(*command: str) -> float:
        process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return used.ru_utime + used.ru_stime

    # Processor time, alternating, and the best of each: the machine is busy, the program is not slower for it.
    pairs = [(seconds("-m", "vocabkit", "--help"), seconds("-c", "pass")) for _ in range(9)]
    assert min(full for full, _ in pairs) - min(bare for _, bare in pairs) <= 0.2


def test_only_the_console_prints() -> None:
    for path in modules():
        if room_of(path) == "console":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert "print" not in calls, path


def test_public_names_are_what_all_says() -> None:
    import vocabkit

    assert set(vocabkit.__all__) == {"LATIN", "Language", "VocabkitError", "check_language", "hookimpl"}
    assert all(hasattr(vocabkit, name) for name in vocabkit.__all__)
