"""`vocabkit advise`: should this base be extended for this language, and by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.cli.sizing import DEFAULT_SHAPE, MOST_TOKENS
from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.language import Language
    from vocabkit.report.advise import Advice


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
    from vocabkit.cli.sizing import measure, own_shape
    from vocabkit.report.advise import advise as judge
    from vocabkit.report.cost import shape_of, with_rows_of
    from vocabkit.tokenizer import open_tokenizer

    if budget_tokens is not None and budget_tokens <= 0:
        raise VocabkitError(
            f"--budget-tokens {budget_tokens:g} trains nothing; give the tokens of training, for example 2e9"
        )
    chosen = LearningOptions(**learning)
    language = chosen.adapted(registry.language(lang))
    tokenizer = open_tokenizer(base)
    name = model_shape or own_shape(tokenizer) or DEFAULT_SHAPE
    shape = with_rows_of(shape_of(name), tokenizer.padded_size)
    with console.progress(as_json) as progress:
        curve, on = measure(registry, tokenizer, language, chosen, max_size, text, shape, budget_tokens, progress)
    advice = judge(language.name, curve, shape, budget_tokens)
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


def _print(advice: Advice, language: Language, base: str, shape: str, on: str, budget_tokens: float | None) -> None:
    from vocabkit.report.advise import AGAINST, QUALITY
    from vocabkit.report.literature import FINDINGS

    cells = []
    for point in advice.curve:
        low, high = point.text.ratio.low, point.text.ratio.high
        within = "-" if low is None else f"{low:.3f}-{high:.3f}"
        seen = ["-" if point.rarely_seen is None else f"{share:.0%}" for share in point.rarely_seen or (0, 0)]
        cells.append(
            [f"{point.size:,}", f"{point.tokens_per_character:.3f}", f"{point.ratio:.3f}", within,
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
