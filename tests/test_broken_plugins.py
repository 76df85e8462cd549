"""A broken plugin is named in one line, whatever it does and whenever it does it; nothing else notices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models

from vocabkit import Language, VocabkitError

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
        (
            "from vocabkit import hookimpl\n@hookimpl\ndef register_commands(cli):\n    cli.no_such_thing\n",
            "register_commands failed: AttributeError: ",
        ),
        (
            LANGUAGE_PLUGIN.format(code="xx", normalize=None).replace("((0x0F00, 0x0FFF),)", "(0x0F00, 0x0FFF)"),
            "register_languages failed: VocabkitError: language 'xx': scripts is (3840, 4095); it must be a tuple",
        ),
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


# Loads well, and fails in everything that it offers as soon as that is used.
FAILING = """
from vocabkit import Language, hookimpl
from vocabkit.corpus import Text

def fail(*_):
    {does}

@hookimpl
def register_languages(register):
    fields = {{"scripts": ((0x0F00, 0x0FFF),), "samples": ("བོད་སྐད",), "segmenter": "fails 1"}}
    register(Language("xx", "Test", segment=fail, **fields))

@hookimpl
def register_corpus_readers(register):
    def read(argument):
        yield Text("བོད་སྐད་")
        fail()

    register("mine", read)
    register("nothing", lambda argument: None)

@hookimpl
def register_learners(register):
    register("mine", fail)

@hookimpl
def register_mergers(register):
    register("mine", fail)

@hookimpl
def register_initializers(register):
    register("mine", fail)
    register("ragged", lambda request: [[0.0], [0.0, 1.0]])
    register("narrow", lambda request: [[0.0]])

@hookimpl
def register_commands(cli):
    @cli.group()
    def mine():
        pass

    @mine.command()
    def fails():
        fail()
"""
RAISES = "raise KeyError('lost')"


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that says why a command failed; what stands before it is progress."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1
    return done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failing")
    install(folder, "fails", FAILING.format(does=RAISES))
    (folder / "text.txt").write_text("བོད་སྐད་ བོད་ཡིག་ བོད་པ་\n" * 20, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("does", "reason"), [(RAISES, "KeyError: 'lost'"), ("import sys; sys.exit(3)", "SystemExit: 3")]
)
def test_a_reader_that_fails_is_one_line_with_its_plugin_and_place(tmp_path: Path, does: str, reason: str) -> None:
    install(tmp_path, "fails", FAILING.format(does=does))
    failed = run(tmp_path, "learn", "--lang", "bo", "--corpus", "mine:x", "--size", "5", "-o", str(tmp_path / "out"))
    assert last_line(failed) == (
        f"error: corpus reader 'mine' of plugin 'fails' (vocabkit-fails 1.0) failed: {reason} "
        f"(vocabkit_fails.py, line 6); mend it, or tell its author"
    )
    assert not (tmp_path / "out").exists()


def test_a_reader_that_gives_nothing_is_one_line(failing: Path) -> None:
    failed = run(failing, "learn", "--lang", "bo", "--corpus", "nothing:x", "--size", "5", "-o", str(failing / "out"))
    assert last_line(failed) == "error: nothing:x gave None; its reader must yield Text with a positive weight"


def test_a_command_that_fails_is_one_line_and_misuse_of_it_is_misuse(failing: Path) -> None:
    assert last_line(run(failing, "mine", "fails")) == (
        "error: command 'mine' of plugin 'fails' (vocabkit-fails 1.0) failed: KeyError: 'lost' "
        "(vocabkit_fails.py, line 6); mend it, or tell its author"
    )
    assert run(failing, "mine", "nonsense").returncode == 2
    assert run(failing, "mine", "fails", "--help").returncode == 0


def test_a_segmenter_that_fails_is_named_with_its_language(failing: Path) -> None:
    text = str(failing / "text.txt")
    failed = run(failing, "bench", "encode-length", "starter", "--lang", "xx", "--text", text)
    assert last_line(failed).startswith("error: language 'xx': segment fails on 'བོད་སྐད་ བོད་ཡིག་ བོད་པ་' with KeyError")
    assert run(failing, "bench", "encode-length", "starter", "--lang", "bo", "--text", text).returncode == 0


def test_everything_else_works_beside_a_plugin_that_fails_when_it_is_used(failing: Path) -> None:
    text, output = str(failing / "text.txt"), str(failing / "learned")
    assert run(failing, "plugins").returncode == 0
    assert run(failing, "learn", "--lang", "bo", "--corpus", text, "--size", "5", "-o", output).returncode == 0


def test_a_normaliser_that_fails_on_some_text_is_named_with_its_language(tmp_path: Path) -> None:
    # It keeps the contract on its samples, as a normaliser with a gap in its table does.
    normalize = "lambda text: {'བོད་སྐད': text}[text]"
    install(tmp_path, "gap", LANGUAGE_PLUGIN.format(code="xx", normalize=normalize))
    (tmp_path / "text.txt").write_text("བོད་སྐད་ བོད་ཡིག་\n" * 20, encoding="utf-8")
    arguments = ("--corpus", str(tmp_path / "text.txt"), "--size", "5", "--normalize")
    failed = run(tmp_path, "learn", "--lang", "xx", *arguments, "-o", str(tmp_path / "out"))
    assert last_line(failed).startswith("error: language 'xx': normalize fails on 'བོད་སྐད་ བོད་ཡིག་\\nབོད")
    assert len(last_line(failed)) < 400


@pytest.mark.parametrize(("kind", "name"), [("learner", "mine"), ("merger", "mine"), ("initializer", "mine")])
def test_every_other_function_of_a_plugin_is_named_when_it_fails(failing: Path, kind: str, name: str) -> None:
    program = f"from vocabkit.plugins import load_plugins\nload_plugins().{kind}({name!r})()"
    path = os.pathsep.join([str(failing), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    wanted = f"PluginError: {kind} 'mine' of plugin 'fails' (vocabkit-fails 1.0) failed: KeyError: 'lost'"
    assert done.stderr.splitlines()[-1].startswith(f"vocabkit.errors.{wanted}")
    # Whoever calls it from Python has the plugin's own traceback above.
    assert "raise KeyError('lost')" in done.stderr


@pytest.fixture(scope="module")
def model(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny(tmp_path_factory.mktemp("tiny"), smollm2_folder, tied=True)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("mine", "initializer 'mine' of plugin 'fails' (vocabkit-fails 1.0) failed: KeyError: 'lost' ("),
        ("ragged", "--init ragged made no rows (setting an array element with a sequence"),
        ("narrow", "--init narrow made rows of shape (1, 1), not (5, 64)"),
    ],
)
def test_an_initializer_that_fails_is_one_line_and_leaves_no_output(
    failing: Path, model: Path, tmp_path: Path, init: str, message: str
) -> None:
    arguments = ("--base", str(model), "--corpus", str(failing / "text.txt"), "--size", "5", "--init", init)
    failed = run(failing, "extend", "--lang", "bo", *arguments, "-o", str(tmp_path / "out"))
    assert last_line(failed).startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_variants_that_fail_are_named_with_their_language() -> None:
    def variants(text: str) -> Iterator[str]:
        yield text
        raise KeyError(text)

    language = Language("xx", "Test", ((0x0F00, 0x0FFF),), variants=variants)
    with pytest.raises(VocabkitError, match="language 'xx': variants fails on 'བོད' with KeyError: 'བོད'"):
        language.run("variants", "བོད")
