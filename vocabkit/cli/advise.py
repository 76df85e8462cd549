"""`vocabkit advise`: should this base be extended for this language, and by how much."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.cli.learning import LearningOptions
    from vocabkit.console import Progress
    from vocabkit.corpus.held_out import HeldOut
    from vocabkit.language import Language
    from vocabkit.report.advise import Advice, Size
    from vocabkit.report.cost import Shape
    from vocabkit.tokenizer.base import Tokenizer

DEFAULT_SHAPE, MOST_TOKENS = "llama-7b", 32_000


@click.command()
@options.lang
@options.base
@options.learning
@click.option("--max-size", type=click.IntRange(1), default=MOST_TOKENS, show_default=True, help="Most new tokens.")
@click.option(
    "--text", multiple=True, metavar="TEXT",
    help="Held-out text to measure on.  [default: one line of ten of the corpus, or the language's own]",
)  # fmt: skip
@click.option("--budget-tokens", type=float, metavar="N", help="Tokens that the extended model will be trained on.")
@click.option(
    "--model-shape", metavar="NAME|CONFIG",
    help="What the costs are of: llama-7b, ..., a config.json or a folder.  [default: the base's own, or llama-7b]",
)  # fmt: skip
@options.as_json
@click.pass_obj
def advise(
    registry: Registry,
    /,
    lang: str,
    base: str,
    max_size: int,
    text: tuple[str, ...],
    budget_tokens: float | None,
    model_shape: str | None,
    as_json: bool,
    **learning: Any,
) -> None:
    """Say whether extending pays, by how much to extend, and what nobody knows before training.

    One learning pass gives the whole curve of sizes. What is measured is how much shorter text becomes; costs follow
    from the model's shape. Quality is not predicted: `vocabkit ab` measures it.

    \b
    Examples:
      vocabkit advise --lang zh --base ./Llama-3.2-1B --corpus books/ --budget-tokens 2e9
      vocabkit advise --lang bo --corpus bo.txt --model-shape mistral-7b --json
    """
    from vocabkit.cli.learning import LearningOptions
    from vocabkit.report.cost import shape_of, with_rows_of
    from vocabkit.tokenizer import open_tokenizer

    if budget_tokens is not None and budget_tokens <= 0:
        raise VocabkitError(
            f"--budget-tokens {budget_tokens:g} trains nothing; give the tokens of training, for example 2e9"
        )
    chosen = LearningOptions(**learning)
    language = chosen.adapted(registry.language(lang))
    tokenizer = open_tokenizer(base)
    name = model_shape or _own_shape(tokenizer) or DEFAULT_SHAPE
    shape = with_rows_of(shape_of(name), tokenizer.padded_size)
    with console.progress(as_json) as progress:
        points, on = measure(registry, tokenizer, language, chosen, max_size, text, shape, budget_tokens, progress)
    advice = advice_of(language, points, shape, budget_tokens)
    if as_json:
        document = {
            "base": base,
            "language": language.code,
            "model_shape": name,
            "measured_on": on,
            **advice.to_json(),
        }
        console.result_json(document | {"budget_tokens": budget_tokens, "base_parameters": shape.parameters})
        return
    _print(advice, language, base, name, on, budget_tokens)


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
    from vocabkit.report.advise import size_of
    from vocabkit.vocabulary.checks import padded_rows
    from vocabkit.vocabulary.curve import curve

    # What `extend` would learn from, unless lines of it are the only ones to measure on.
    apart = HeldOut(0) if text else HeldOut()
    kept = read_protected(registry, language, chosen)
    tokenizer = start_from(registry, tokenizer, language, chosen).tokenizer
    vocabulary, _ = learn_vocabulary(
        registry, tokenizer, language, max_size, chosen, progress, kept, apart=apart, or_fewer=True
    )
    lines, on = held_out(registry, language, apart, text)
    progress.step(f"Measuring on {len(lines):,} lines")
    points = curve(tokenizer, vocabulary.tokens, lines, apart.sample)
    before = points[0].tokens_per_character
    # Rows that the base has to spare are filled first; without new tokens nothing is padded.
    rows = [padded_rows(tokenizer, max(shape.vocabulary, tokenizer.size + point.size)) for point in points[1:]]
    return [
        size_of(point, shape, row, before, budget_tokens)
        for point, row in zip(points, [shape.vocabulary, *rows], strict=True)
    ], on


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
    from vocabkit.vocabulary.curve import knee

    shape = with_rows_of(shape_of(_own_shape(tokenizer) or DEFAULT_SHAPE), tokenizer.padded_size)
    points, _ = measure(registry, tokenizer, language, chosen, max_size, (), shape, None, progress)
    return points[knee([point.size for point in points], [point.cost.net for point in points])].size


def advice_of(language: Language, points: list[Size], shape: Shape, budget_tokens: float | None) -> Advice:
    """Return the advice for a curve."""
    from vocabkit.report.advise import advise as judge
    from vocabkit.vocabulary.curve import knee

    place = knee([point.size for point in points], [point.cost.net for point in points])
    return judge(language.name, points, place, shape, budget_tokens)


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


def _own_shape(tokenizer: Tokenizer) -> str | None:
    folder = tokenizer.source if tokenizer.source.is_dir() else tokenizer.source.parent
    return str(folder / "config.json") if (Path(folder) / "config.json").is_file() else None


def _print(advice: Advice, language: Language, base: str, shape: str, on: str, budget_tokens: float | None) -> None:
    from vocabkit.report.advise import AGAINST, QUALITY
    from vocabkit.report.literature import FINDINGS

    cells = []
    for point in advice.curve:
        low, high = point.ratio_interval
        seen = ["-" if point.rarely_seen is None else f"{share:.0%}" for share in point.rarely_seen or (0, 0)]
        cells.append(
            [f"{point.size:,}", f"{point.tokens_per_character:.3f}", f"{point.ratio:.3f}", f"{low:.3f}-{high:.3f}",
             f"{point.cost.compute:.3f}", f"{point.cost.memory:.3f}", f"{point.cost.net:.3f}",
             *(seen if budget_tokens else [])]
        )  # fmt: skip
    rare = ("rows <100", "rows <1,000") if budget_tokens else ()
    console.table(
        f"{language.name} on {base}, costs of {shape}",
        ("new tokens", "tokens/char", "of base", "95 %", "compute", "memory", "net", *rare),
        cells,
    )
    console.result(f"Measured on {on}.")
    for reason in advice.reasons:
        console.result(f"- {reason}")
    console.result(f"Efficiency: {'against' if advice.verdict == AGAINST else f'for {advice.size:,} new tokens'}.")
    console.result(f"Quality: {QUALITY}. What others found:")
    for finding in FINDINGS:
        console.result(f"  {finding.study} ({finding.source}; {finding.base}; {finding.budget}): {finding.found}")
    if advice.verdict == AGAINST:
        console.result("Next: vocabkit train on the base as it is; nothing has to be extended")
    else:
        console.result(f"Next: vocabkit extend --lang {language.code} --base {base} --size {advice.size} -o out")
