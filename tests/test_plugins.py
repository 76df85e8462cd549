"""Plugins are found, limited, reported when broken, and never override each other silently."""

from __future__ import annotations

import json
import os
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
    registry = load_plugins({}, extra)
    with pytest.raises(DuplicateNameError, match=r"language 'xx' is offered by both plugin 'one' and plugin 'two'"):
        registry.language("xx")
    assert registry.language("zh").name == "Chinese"
    errors = {plugin.name: plugin.error for plugin in registry.plugins}
    assert errors["one"] is None
    assert errors["two"] is not None
    assert errors["two"].startswith("language 'xx' is offered by both plugin 'one' and plugin 'two'; uninstall one")


def test_a_duplicate_corpus_reader_is_refused_where_it_is_used() -> None:
    from vocabkit.corpus import open_corpus

    class Reader:
        @hookimpl
        def register_corpus_readers(self, register: Callable[..., None]) -> None:
            register("wordfreq", lambda argument, field="": iter(()))

    registry = load_plugins({}, {"mine": Reader()})
    with pytest.raises(
        DuplicateNameError, match="corpus reader 'wordfreq' is offered by both plugin 'core' and plugin"
    ):
        list(open_corpus(["wordfreq:zh"], registry=registry))


def test_a_plugin_that_registers_no_language_is_named() -> None:
    registry = load_plugins({}, {"wrong": plugin(lambda r: r({"code": "xx"}))})
    assert registry.plugins[-1].error == (
        "register_languages failed: TypeError: {'code': 'xx'} is no Language; register(Language(...))"
    )


def test_a_plugin_with_an_unknown_hook_breaks_nothing_after_it() -> None:
    class Unknown:
        @hookimpl
        def register_langauges(self, register: Callable[..., None]) -> None:
            raise AssertionError("never called")

    registry = load_plugins({}, {"unknown": Unknown(), "good": plugin(lambda r: r(language("xx")))})
    broken, good = registry.plugins[-2:]
    assert broken.error is not None
    assert broken.error.startswith("cannot be registered: PluginValidationError: ")
    assert "register_langauges" in broken.error
    assert good.error is None
    assert "xx" in registry.languages


def test_a_plugin_that_exits_is_reported() -> None:
    def leave(register: Callable[..., None]) -> None:
        sys.exit(3)

    assert load_plugins({}, {"leaves": plugin(leave)}).plugins[-1].error == "register_languages failed: SystemExit: 3"


def test_a_plugin_cannot_replace_a_command() -> None:
    class Commands:
        @hookimpl
        def register_commands(self, cli: click.Group) -> None:
            cli.add_command(click.Command("extend"))

    registry = load_plugins({}, {"greedy": Commands()})
    group = build_cli(registry)
    assert group.commands["extend"].params
    assert registry.plugins[-1].error == (
        "command 'extend' is there already; rename it, or uninstall the other plugin"
    )


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


LANGUAGE_PLUGIN = """
from vocabkit import Language, hookimpl

@hookimpl
def register_languages(register):
    register(Language("{code}", "Test", ((0x0F00, 0x0FFF),), samples=("བོད་སྐད",), normalize={normalize}))
"""


def install(folder: Path, name: str, module: str) -> None:
    """Put a real distribution on a path: a module and its entry point."""
    (folder / f"vocabkit_{name}.py").write_text(module, encoding="utf-8")
    info = folder / f"vocabkit_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vocabkit-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[vocabkit]\n{name} = vocabkit_{name}\n")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run vocabkit where the distributions in `folder` are installed too."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "vocabkit", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            "import does_not_exist_at_all\n",
            "cannot be imported: ModuleNotFoundError: No module named 'does_not_exist",
        ),
        ("import sys\nsys.exit('no')\n", "cannot be imported: SystemExit: no"),
        ("syntax error\n", "cannot be imported: SyntaxError"),
        (LANGUAGE_PLUGIN.format(code="zh", normalize=None), "language 'zh' is offered by both plugin "),
    ],
)
def test_a_broken_installed_plugin_is_named_and_breaks_nothing_else(tmp_path: Path, module: str, reason: str) -> None:
    install(tmp_path, "broken", module)
    listed = run(tmp_path, "plugins")
    assert listed.returncode == 1
    assert "broken (vocabkit-broken 1.0)" in listed.stdout
    assert f"BROKEN: {reason}" in listed.stdout
    others = run(tmp_path, "languages", "--json")
    assert others.returncode == 0
    assert {"bo", "zh"} <= {row["code"] for row in json.loads(others.stdout)}


def test_a_normaliser_that_loses_text_is_named_where_it_would_be_used(tmp_path: Path) -> None:
    install(tmp_path, "lossy", LANGUAGE_PLUGIN.format(code="xx", normalize="lambda text: ''"))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("བོད་སྐད་ བོད་སྐད་ བོད་སྐད་\n" * 20, encoding="utf-8")
    arguments = ("learn", "--lang", "xx", "--corpus", str(corpus), "--size", "5", "-o")
    failed = run(tmp_path, *arguments, str(tmp_path / "one"), "--normalize")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("error: language 'xx': normalize loses letters of ")
    assert "Traceback" not in failed.stderr
    assert run(tmp_path, *arguments, str(tmp_path / "two")).returncode == 0
    assert run(tmp_path, "plugins").returncode == 0


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
        ({"scripts": ((0x41, 0x5A), (0x0F00, 0x0FFF))}, "which English is written with; leave ASCII out"),
        ({"punctuation": "a"}, "neither punctuation nor a symbol"),
        ({"punctuation": ","}, "ASCII marks belong to every language"),
        ({"normalize": lambda text: text + "x"}, "not idempotent"),
        ({"normalize": lambda text: ""}, "normalize loses letters of"),
        ({"normalize": lambda text: text[1:]}, "normalize loses letters of"),
        ({"normalize": lambda text: None}, "normalize gives None for .*; it must return text"),
        ({"normalize": lambda text: text.nothing}, "normalize fails on .* with AttributeError"),
        ({"segment": lambda text: text, "segmenter": "x 1"}, "it must return a list of text"),
        ({"segment": lambda text: 1 / 0, "segmenter": "x 1"}, "segment fails on .* with ZeroDivisionError"),
        ({"segment": str.split, "segmenter": "split 1", "samples": ("བོ ད",)}, "loses or invents text"),
        ({"segment": list}, "name the segmenter"),
    ],
)
def test_check_language_says_what_is_wrong(change: dict[str, object], message: str) -> None:
    from dataclasses import replace

    check_language(language("bo"))
    with pytest.raises(VocabkitError, match=message):
        check_language(replace(language("bo"), **change))  # type: ignore[arg-type]
