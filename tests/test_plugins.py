"""Plugins are found, limited, reported when broken, and never override each other silently."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from vocabkit import Language, VocabkitError, check_language, hookimpl
from vocabkit.cli import build_cli
from vocabkit.errors import UnknownNameError
from vocabkit.plugins import DuplicateNameError, Registry, load_plugins


def language(code: str) -> Language:
    return Language(code, "Test", ((0x0F00, 0x0FFF),), samples=("བོད་སྐད",))


def plugin(register: Callable[[Callable[..., None]], None]) -> types.SimpleNamespace:
    class Offered:
        @hookimpl
        def register_languages(self, register: Callable[..., None], _run=register) -> None:  # type: ignore[no-untyped-def]
            _run(register)

    return Offered()  # type: ignore[return-value]


def test_bundled_plugins_register_like_any_other(registry: Registry) -> None:
    offers = {plugin.name: plugin.offers for plugin in registry.plugins}
    assert offers["chinese"] == ["language zh"]
    assert {"merger ranked", "merger union", "merger bridge", "learner continued-bpe"} <= set(offers["core"])
    assert not [plugin for plugin in registry.plugins if plugin.error]


def test_an_empty_limit_leaves_the_core_alone() -> None:
    registry = load_plugins({"VOCABKIT_PLUGINS": ""})
    assert [plugin.name for plugin in registry.plugins] == ["core"]
    assert not registry.languages
    assert "ranked" in registry.mergers


def test_a_limit_loads_what_it_names() -> None:
    assert list(load_plugins({"VOCABKIT_PLUGINS": "chinese"}).languages) == ["zh"]


def test_a_misspelled_limit_names_the_nearest_plugin() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'chinese'"):
        load_plugins({"VOCABKIT_PLUGINS": "chinse"})


def test_a_duplicate_name_is_an_error_that_names_both() -> None:
    extra = {"one": plugin(lambda r: r(language("xx"))), "two": plugin(lambda r: r(language("xx")))}
    with pytest.raises(DuplicateNameError, match=r"language 'xx' is offered by both plugin 'one' and plugin 'two'"):
        load_plugins({}, extra)


def test_a_plugin_that_fails_is_reported_and_breaks_nothing_else() -> None:
    def fail(register: Callable[..., None]) -> None:
        raise RuntimeError("no dictionary found")

    registry = load_plugins({}, {"bad": plugin(fail), "good": plugin(lambda r: r(language("xx")))})
    assert next(p for p in registry.plugins if p.name == "bad").error == (
        "register_languages failed: RuntimeError: no dictionary found"
    )
    assert {"zh", "xx"} <= set(registry.languages)


def test_a_plugin_adds_commands() -> None:
    class Commands:
        @hookimpl
        def register_commands(self, cli: click.Group) -> None:
            cli.add_command(click.Command("hello"))

    group = build_cli(load_plugins({}, {"hello": Commands()}))
    assert {"hello", "extend"} <= set(group.commands)


def test_a_broken_installed_plugin_is_named_with_its_reason(tmp_path: Path) -> None:
    """A real distribution on the path, whose module cannot be imported."""
    (tmp_path / "vocabkit_broken.py").write_text("import does_not_exist_at_all\n")
    info = tmp_path / "vocabkit_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vocabkit-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vocabkit]\nbroken = vocabkit_broken\n")
    command = [sys.executable, "-m", "vocabkit"]
    env = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    listed = subprocess.run([*command, "plugins"], env=env, capture_output=True, text=True, check=False)
    assert listed.returncode == 1
    assert "broken (vocabkit-broken 1.0)" in listed.stdout
    assert "BROKEN: cannot be imported: ModuleNotFoundError: No module named 'does_not_exist_at_all'" in listed.stdout
    others = subprocess.run([*command, "languages", "--json"], env=env, capture_output=True, text=True, check=False)
    assert others.returncode == 0
    assert '"zh"' in others.stdout


def test_chinese_keeps_the_contract(registry: Registry) -> None:
    check_language(registry.language("zh"))


@pytest.mark.parametrize("character", "你漢㐀𠀀〇々，。《？！")
def test_chinese_owns_han_of_every_extension_and_its_marks(registry: Registry, character: str) -> None:
    assert registry.language("zh").owns(character)


@pytest.mark.parametrize("character", "aé1 “—…·ひカ한ཀ\u3000\u200b")
def test_chinese_owns_nothing_else(registry: Registry, character: str) -> None:
    assert not registry.language("zh").owns(character)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": ()}, "at least one sample"),
        ({"samples": ("abc",)}, "no character of the declared scripts"),
        ({"scripts": ()}, "at least one range"),
        ({"punctuation": "a"}, "neither punctuation nor a symbol"),
        ({"punctuation": ","}, "ASCII marks belong to every language"),
        ({"normalize": lambda text: text + "x"}, "not idempotent"),
        ({"segment": str.split, "segmenter": "split 1", "samples": ("བོ ད",)}, "loses or invents text"),
        ({"segment": list}, "name the segmenter"),
    ],
)
def test_check_language_says_what_is_wrong(change: dict[str, object], message: str) -> None:
    from dataclasses import replace

    check_language(language("bo"))
    with pytest.raises(VocabkitError, match=message):
        check_language(replace(language("bo"), **change))  # type: ignore[arg-type]
