"""`vocabkit bench`: measure tokenizers on text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vocabkit import console
from vocabkit.cli import bench_parity, options
from vocabkit.cli.bench_answers import code_switching
from vocabkit.cli.bench_choice import choice
from vocabkit.cli.bench_model import init, perplexity
from vocabkit.cli.bench_probe import probe
from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.tokenizer.base import Tokenizer


# What `bench speed` learns: enough to be timed, few enough for a small text.
LEARN_SIZE = 1000


@click.group()
def bench() -> None:
    """Measure tokenizers, models and what these write: lengths, speeds, bits per byte, mixed languages."""


bench.add_command(choice)
bench.add_command(code_switching)
bench.add_command(init)
bench.add_command(perplexity)
bench.add_command(probe)


@bench.command("encode-length")
@click.argument("tokenizers", nargs=-1, required=True)
@click.option("--text", multiple=True, metavar="TEXT", help="File in any corpus format; may be repeated.")
@click.option("--lang", metavar="CODE", help="Use this language's evaluation text and segmenter.")
@click.option("--field", default=None, help="Field of JSON Lines and Parquet records.  [default: text]")
@bench_parity.parallel_texts
@options.as_json
@click.pass_obj
def encode_length(
    registry: Registry,
    tokenizers: tuple[str, ...],
    text: tuple[str, ...],
    lang: str | None,
    field: str | None,
    parallel: Path | None,
    reference: str | None,
    picture: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compare how many tokens texts take; ratios are to the first tokenizer.

    With --parallel, DIR holds the same text in many languages, a file CODE.txt for each, and the figures are
    premiums: tokens of a language's text in units of those of the English one.

    \b
    Examples:
      vocabkit bench encode-length out ./Llama-3.2-1B --text held-out.txt
      vocabkit bench encode-length ./Llama-3.2-1B out --parallel udhr --picture premium.png
    """
    if parallel is not None:
        if text or lang or field:
            raise click.UsageError("--parallel brings its own texts; leave out --text, --lang and --field")
        bench_parity.check(picture, len(tokenizers), force)
        bench_parity.show(registry, _open_all(tokenizers), parallel, reference, picture, as_json)
        return
    if reference or picture or force:
        raise click.UsageError("--reference, --picture and --force belong to --parallel; name its folder")
    from vocabkit.measure.encode_length import encode_length as measure

    opened = _open_all(tokenizers)
    texts = _read_texts(registry, text, lang, field or "text")
    rows = measure(opened, texts, language=registry.language(lang) if lang else None)
    if as_json:
        console.result_json({"rows": [row.to_json() for row in rows]})
        return
    columns = [
        "tokenizer",
        "tokens",
        "tokens/char",
        "chars/token",
        "bytes/token",
        "byte share",
        "new used",
        "ratio",
    ]
    has_words = any(row.single_token_words is not None for row in rows)
    if has_words:
        columns.insert(-1, "1-token words")
    for name, lines in texts:
        mine = [row for row in rows if row.text == name]
        cells = []
        for row in mine:
            cell = [
                row.tokenizer,
                f"{row.tokens:,}",
                f"{row.tokens_per_character:.3f}",
                f"{row.characters_per_token:.3f}",
                f"{row.bytes_per_token:.2f}",
                f"{row.byte_share:.1%}",
                "-" if row.new_tokens_used is None else f"{row.new_tokens_used:.1%}",
                f"{row.ratio:.3f}",
            ]
            if has_words:
                cell.insert(-1, "-" if row.single_token_words is None else f"{row.single_token_words:.1%}")
            cells.append(cell)
        characters = sum(map(len, lines))
        segmenter = f", words by {mine[0].segmenter}" if mine[0].segmenter else ""
        console.table(f"{name}: {len(lines):,} lines, {characters:,} characters{segmenter}", columns, cells)


@bench.command()
@click.argument("tokenizers", nargs=-1, required=True)
@click.option("--text", multiple=True, metavar="TEXT", help="File in any corpus format; may be repeated.")
@click.option(
    "--lang", metavar="CODE", help="Time learning for this language; without --text, on its evaluation text."
)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Alternating runs; medians count.")
@click.option("--field", default="text", show_default=True, help="Field of JSON Lines and Parquet records.")
@options.as_json
@click.pass_obj
def speed(
    registry: Registry,
    tokenizers: tuple[str, ...],
    text: tuple[str, ...],
    lang: str | None,
    runs: int,
    field: str,
    as_json: bool,
) -> None:
    """Time encoding and decoding, and learning 1,000 tokens from the texts when --lang is given."""
    from vocabkit.measure.speed import speed as measure

    opened = _open_all(tokenizers)
    lines = [line for _, found in _read_texts(registry, text, lang, field) for line in found]
    rows = measure(opened, lines, runs=runs, learn=_learning(registry, lang) if lang else None)
    if as_json:
        console.result_json({"rows": [row.to_json() for row in rows]})
        return
    cells = [
        [
            row.tokenizer,
            row.engine,
            f"{row.encode_mb_per_second:.2f}",
            f"{row.decode_mb_per_second:.2f}",
            "-" if row.learn_seconds is None else f"{row.learn_seconds:.2f}",
        ]
        for row in rows
    ]
    columns = ["tokenizer", "engine", "encode MB/s", "decode MB/s", "learn s"]
    console.table(f"{sum(len(line.encode()) for line in lines) / 1e6:.2f} MB, median of {runs} runs", columns, cells)


def _learning(registry: Registry, lang: str) -> Callable[[Tokenizer, Sequence[str]], None]:
    """Return what `bench speed` times as learning: spans cut from the lines, and tokens learned on them."""
    from collections import Counter

    from vocabkit.vocabulary.spans import SpanCutter

    language = registry.language(lang)

    def learn(tokenizer: Tokenizer, lines: Sequence[str]) -> None:
        spans = Counter(SpanCutter(tokenizer.preparer(), language)("\n".join(lines), True, True))
        # A text too small for so many tokens is learned from to its end: the time stands.
        with suppress(VocabkitError):
            registry.learner(language.learner)(
                tokenizer, language, spans, size=LEARN_SIZE, max_length=language.max_token_length
            )

    return learn


def _open_all(names: tuple[str, ...]) -> list[tuple[str, Tokenizer, int | None]]:
    """Open each tokenizer; one that vocabkit extended also says where its new ids begin."""
    from vocabkit.manifest import read_manifest
    from vocabkit.tokenizer import open_tokenizer

    opened: list[tuple[str, Tokenizer, int | None]] = []
    for name in names:
        manifest = read_manifest(Path(name)) if Path(name).is_dir() else None
        first_new = manifest["base"]["size"] if manifest and "base" in manifest else None
        opened.append((name, open_tokenizer(name), first_new))
    return opened


def _read_texts(
    registry: Registry, specs: tuple[str, ...], lang: str | None, field: str
) -> list[tuple[str, list[str]]]:
    from vocabkit.cli.texts import read_lines

    texts = [(spec, read_lines(spec, registry, field=field)) for spec in specs]
    if not specs:
        if not lang:
            raise click.UsageError("name a text with --text, or a language with --lang")
        evaluation = registry.language(lang).evaluation_text
        texts = [(f"{lang} evaluation text", [line for line in evaluation.splitlines() if line])]
    empty = next((name for name, lines in texts if not lines), None)
    if empty is not None:
        raise click.UsageError(f"{empty} holds no text")
    return texts
