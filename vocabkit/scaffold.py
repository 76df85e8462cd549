"""Write a language plugin to begin with: project file, module, test and README."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from vocabkit.errors import VocabkitError
from vocabkit.files import write_whole
from vocabkit.language import LATIN

# What stands in a project without a sample: private use, so that it can harm no text.
PLACEHOLDER = "\ue000"
LATIN_DRIFT = """
    # The script is English's too: of 100 lines of English, one may be segmented anew.
    max_drift=0.01,"""
TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = {distribution}
version = "0.1.0"
description = {description}
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["vocabkit"]

[project.optional-dependencies]
test = ["pytest"]

# This is how vocabkit finds the language once the package is installed.
[project.entry-points.vocabkit]
{slug} = "{module}"

[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]

# What `pip install -e .` puts on the path: this folder, so that a change to the module counts at once.
[tool.hatch.build]
dev-mode-dirs = ["."]
"""

MODULE = '''\
"""{name} for vocabkit."""

from vocabkit import Language, hookimpl

LANGUAGE = Language(
    code="{code}",
    name={name_literal},
    # Ranges of code points that are the language's own: every new token holds at least one of them.{hint}
    scripts=({scripts},),
    samples=({sample},),{drift}
)


@hookimpl
def register_languages(register):
    """Offer {name}."""
    register(LANGUAGE)
'''

TEST = """\
from importlib.metadata import entry_points

from {module} import LANGUAGE
from vocabkit import check_language


def test_the_language_keeps_the_contract():
    check_language(LANGUAGE)


def test_the_installed_plugin_is_found():
    assert "{module}" in {{point.value for point in entry_points(group="vocabkit")}}
"""

README = """\
# {distribution}

{name} (`{code}`) for [vocabkit](https://pypi.org/project/vocabkit/).

    pip install -e '.[test]'
    pytest
    vocabkit languages check {code}
    vocabkit extend --lang {code} --corpus your-text/ --size 2000 -o out

`{module}.py` is the whole plugin. Put a few sentences of your own into `samples`, and the Unicode ranges of the
script into `scripts`; add `normalize`, `segment` (with `segmenter`) and `sample_corpus` when you have them.
"""


def write_project(code: str, name: str, sample: str, folder: Path) -> str:
    """Write a plugin for the language `code` into `folder`, and return the name of its module.

    sample: a sentence, whose letters give the scripts; without one the module holds a placeholder to replace.  One
        of Latin letters makes a language that shares English's script, so that some English text may change.
    Raises VocabkitError when `code` is no language tag, `name` is not one line, the sample holds no letters, or the
    folder is not empty.
    """
    if not TAG.fullmatch(code):
        raise VocabkitError(f"{code!r} is no language tag; write for example dz, or mn-Mong with a script")
    if not name.strip() or not name.isprintable():
        raise VocabkitError(f"{name!r} is no name; give one line of text to --name")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise VocabkitError(f"{folder} is not empty; choose another --output")
    # Names of distributions and modules are plain ASCII; a name in another script leaves the code.
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or code.lower().replace("-", "_")
    module = f"vocabkit_{slug}"
    scripts = scripts_of(sample) if sample else ((ord(PLACEHOLDER), ord(PLACEHOLDER)),)
    values = {
        "code": code,
        "name": name.replace("\\", "").replace('"', "'"),
        "name_literal": _quoted(name),
        "slug": slug,
        "module": module,
        "distribution": _quoted(module.replace("_", "-")),
        "description": _quoted(f"{name} for vocabkit"),
        "scripts": ", ".join(f"(0x{first:04X}, 0x{last:04X})" for first, last in scripts),
        "sample": _quoted(sample or PLACEHOLDER),
        "drift": LATIN_DRIFT if scripts == LATIN else "",
        "hint": "" if sample else "\n    # TODO: the real ones, and a sentence; these are placeholders.",
    }
    (folder / "tests").mkdir(parents=True, exist_ok=True)
    write_whole(folder / "pyproject.toml", PYPROJECT.format(**values))
    write_whole(folder / f"{module}.py", MODULE.format(**values))
    write_whole(folder / "tests" / f"test_{module}.py", TEST.format(**values))
    write_whole(folder / "README.md", README.format(**values | {"distribution": module.replace("_", "-")}))
    return module


def scripts_of(sample: str) -> tuple[tuple[int, int], ...]:
    """Return the ranges around the sample's letters whose characters carry the same script in their names.

    "ཁ" -> ((0x0F00, 0x0FDA),): from U+0F00 to U+0FDA every name begins with TIBETAN.  It is a first guess.
    A sample in Latin letters alone gives LATIN.  Raises VocabkitError when it has no letters.
    """
    ranges: set[tuple[int, int]] = set()
    has_latin = False
    for character in sample:
        code_point, script = ord(character), _script(ord(character))
        if not unicodedata.category(character).startswith("L"):
            continue
        if script == "LATIN":
            has_latin = True
            continue
        if not any(first <= code_point <= last for first, last in ranges):
            ranges.add(_around(code_point, script))
    if not ranges and not has_latin:
        raise VocabkitError(f"the sample {sample!r} has no letters; give a sentence of the language to --sample")
    return tuple(sorted(ranges)) or LATIN


def _around(code_point: int, script: str) -> tuple[int, int]:
    first = last = at = code_point
    # Unassigned code points between two of the script belong to its block; 16 of them end it.
    while at > 0x250 and first - at < 16 and _script(at - 1) in (script, ""):
        at -= 1
        first = at if _script(at) == script else first
    at = last
    while at < 0x10FFFF and at - last < 16 and _script(at + 1) in (script, ""):
        at += 1
        last = at if _script(at) == script else last
    return first, last


def _script(code_point: int) -> str:
    """Return the first word of a character's name, "" for one without: 0x0F40 -> "TIBETAN"."""
    return unicodedata.name(chr(code_point), "").split(" ")[0].split("-")[0]


def _quoted(text: str) -> str:
    """Return `text` as a string of Python and of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
