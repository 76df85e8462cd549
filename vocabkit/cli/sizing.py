"""Weigh the sizes of an extension: what `advise`, `extend --size auto` and `report` share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vocabkit.cli.learning import LearningOptions
    from vocabkit.console import Progress
    from vocabkit.corpus.held_out import HeldOut
    from vocabkit.language import Language
    from vocabkit.measure.size_curve import Point
    from vocabkit.report.cost import Shape
    from vocabkit.report.sizes import Size
    from vocabkit.tokenizer.base import Tokenizer

DEFAULT_SHAPE, MOST_TOKENS = "llama-7b", 32_000


def measure(
    registry: Registry,
    tokenizer: Tokenizer,
    language: Language,
    chosen: LearningOptions,
    max_size: int,
    text: tuple[str, ...],
    shape: Shape,
    budget_tokens: float | None,
    progress: Progress,
) -> tuple[list[Size], str]:
    """Return what each size would bring and cost, and what it was measured on."""
    from vocabkit.cli.learning import learn_vocabulary, read_protected
    from vocabkit.cli.pretokenizer import start_from
    from vocabkit.corpus.held_out import HeldOut
    from vocabkit.measure.size_curve import prefixes_of, size_curve, sizes

    # What `extend` would learn from, unless lines of it are the only ones to measure on.
    apart = HeldOut(0) if text else HeldOut()
    kept = read_protected(registry, language, chosen)
    tokenizer = start_from(registry, tokenizer, language, chosen).tokenizer
    vocabulary, _ = learn_vocabulary(
        registry, tokenizer, language, max_size, chosen, progress, kept, apart=apart, or_fewer=True
    )
    tokens = vocabulary.tokens
    lines, on = held_out(registry, language, apart, text)
    progress.step(f"Measuring on {len(lines):,} lines")
    points = size_curve(prefixes_of(tokenizer, tokens), sizes(len(tokens)), [lines], sample=apart.sample)
    return weighed(points, tokenizer, shape, budget_tokens), on


def best_size(
    registry: Registry,
    tokenizer: Tokenizer,
    language: Language,
    chosen: LearningOptions,
    max_size: int,
    progress: Progress,
) -> int:
    """Return the number of new tokens at the knee of what they cost and save; 0 when there is none."""
    from vocabkit.report.cost import shape_of, with_rows_of
    from vocabkit.report.sizes import knee_of

    shape = with_rows_of(shape_of(own_shape(tokenizer) or DEFAULT_SHAPE), tokenizer.padded_size)
    curve, _ = measure(registry, tokenizer, language, chosen, max_size, (), shape, None, progress)
    return curve[knee_of(curve)].size


def weighed(points: Sequence[Point], base: Tokenizer, shape: Shape, budget_tokens: float | None = None) -> list[Size]:
    """Return the points of a curve that begins with `base`, with what they cost a model of the shape, of its rows."""
    from vocabkit.report.sizes import sizes_of
    from vocabkit.vocabulary.checks import padded_rows

    # Rows that the base has to spare are filled first; without new tokens nothing is padded.
    rows = [padded_rows(base, max(shape.vocabulary, base.size + point.size)) for point in points[1:]]
    return sizes_of(points, [shape.vocabulary, *rows], shape, budget_tokens)


def held_out(registry: Registry, language: Language, apart: HeldOut, text: tuple[str, ...]) -> tuple[list[str], str]:
    """Return the lines to measure on, and what they are.

    Raises VocabkitError when there are none in the language.
    """
    from vocabkit.cli.texts import read_lines
    from vocabkit.corpus.held_out import MOST_LINES
    from vocabkit.vocabulary.probes import prose_of

    if text:
        lines, on = [line for spec in text for line in read_lines(spec, registry, MOST_LINES)], ", ".join(text)
    elif not apart.is_list:
        lines, on = apart.held_out, "one line of ten of the corpus, which was not learned from"
    elif language.evaluation_text:
        lines, on = language.evaluation_text.splitlines(), f"the evaluation text of {language.code}"
    else:
        words = dict(apart.sample)
        lines, on = list(prose_of(words, 2000, glue="")), "the words that were learned from, which flatters"
    in_language = [line for line in lines if any(map(language.owns, line))]
    # A text that was named is measured whole, as `bench encode-length` does it.
    lines = lines if text and in_language else in_language
    if not lines:
        raise VocabkitError(f"no line of {language.name} is left to measure on; name held-out text with --text")
    return lines, on


def own_shape(tokenizer: Tokenizer) -> str | None:
    """Return the config.json of the model that the tokenizer came with, if there is one."""
    folder = tokenizer.source if tokenizer.source.is_dir() else tokenizer.source.parent
    path = folder / "config.json"
    return str(path) if path.is_file() else None


def shape_before(base: Tokenizer, candidate: Tokenizer) -> tuple[Shape, str]:
    """Return the shape of the model that was extended, and what says it: a report shows what it can.

    That is the base's own config.json, or the candidate's with the rows of the base, or DEFAULT_SHAPE.
    """
    from vocabkit.report.cost import shape_of, with_rows_of
    from vocabkit.vocabulary.checks import padded_rows

    for tokenizer, name in ((base, "the base's config.json"), (candidate, "this model's config.json")):
        path = own_shape(tokenizer)
        try:
            shape = shape_of(path) if path else None
        except VocabkitError:
            continue
        if shape:
            rows = shape.vocabulary if tokenizer is base else padded_rows(base, base.size)
            return replace(shape, vocabulary=rows), name
    return with_rows_of(shape_of(DEFAULT_SHAPE), base.padded_size), DEFAULT_SHAPE
