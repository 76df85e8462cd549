"""`vocabkit extend`: a base tokenizer and text in, an extended and proven tokenizer out."""

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
    from vocabkit.cli.pretokenizer import Start
    from vocabkit.language import Language
    from vocabkit.rows.checkpoint import Checkpoint
    from vocabkit.tokenizer.base import Tokenizer
    from vocabkit.vocabulary.extend import Extended, Merger
    from vocabkit.vocabulary.requests import RowOptions
    from vocabkit.vocabulary.vocabulary_file import Vocabulary

DEFAULT_SIZE = 12_000


@click.command()
@click.option("--lang", metavar="CODE", help="Language, as `vocabkit languages` lists it.")
@options.base
@click.option(
    "--vocabulary", type=click.Path(path_type=Path), metavar="V",
    help="Merge this instead of learning: output of `vocabkit learn`, a .model, a tokenizer.json, a word list.",
)  # fmt: skip
@click.option(
    "--size", "wanted", type=options.NewTokens(), metavar="N|auto",
    help="New tokens; auto: as many as `vocabkit advise` would.  [default: 12000, or all of --vocabulary]",
)  # fmt: skip
@options.learning
@click.option(
    "--merger", metavar="NAME", help="ranked, union or bridge.  [default: the language's; bridge for foreign]"
)
@click.option("--recipe", metavar="NAME", help="Reproduce a published merge to the byte: chinese-llama.")
@click.option("--add-special", multiple=True, metavar="TOKEN", help="Append a special token; may be repeated.")
@options.weights
@options.making_rows
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@options.output
@options.force
@options.as_json
@click.pass_obj
def extend(
    registry: Registry,
    /,
    lang: str | None,
    base: str,
    vocabulary: Path | None,
    wanted: int | str | None,
    merger: str | None,
    recipe: str | None,
    add_special: tuple[str, ...],
    init: str | None,
    init_option: tuple[str, ...],
    init_corpus: tuple[str, ...],
    donor: Path | None,
    seed: int,
    link: bool,
    no_weights: bool,
    dry_run: bool,
    output: Path,
    force: bool,
    as_json: bool,
    **learning: Any,
) -> int:
    """Extend a base tokenizer with a language, and prove that nothing else broke.

    When BASE is a model folder, its weights grow too: old rows keep their bytes, new ones are made by --init.

    \b
    Examples:
      vocabkit extend --lang zh -o llm-zh
      vocabkit extend --lang zh --base ./Llama-3.2-1B --corpus books/ --size 20000 -o out
      vocabkit extend --lang zh --base tokenizer.model --vocabulary other.model -o out
    """
    from vocabkit.cli.learning import LearningOptions, learn_vocabulary, read_protected
    from vocabkit.cli.pretokenizer import start_from
    from vocabkit.cli.rows import RowChoice, row_options
    from vocabkit.tokenizer import open_tokenizer
    from vocabkit.vocabulary.extend import extend as run
    from vocabkit.vocabulary.vocabulary_file import read_vocabulary

    if not lang and not recipe:
        raise click.UsageError("name the language with --lang; `vocabkit languages` lists them")
    chosen = LearningOptions(**learning)
    language = chosen.adapted(registry.language(lang or "zh"))
    if vocabulary and wanted == "auto":
        raise click.UsageError("--size auto learns from a corpus; give --vocabulary a number")
    if wanted == "auto" and "-" in learning["corpus"]:
        raise click.UsageError("--size auto reads the corpus twice, and stdin can be read once; save it to a file")
    if vocabulary and learning["corpus"]:
        raise click.UsageError("--vocabulary and --corpus exclude each other: merge what is learned, or learn")
    tokenizer = open_tokenizer(base)
    checkpoint = None if no_weights else _checkpoint(tokenizer)
    if init and not checkpoint:
        raise click.UsageError(f"--init makes rows for a model's weights, and {base} has none; name a model folder")
    rows = RowChoice(init_option, init_corpus, donor)
    how = None
    if checkpoint:
        name = init or language.initializer
        how = row_options(
            registry, language, name, rows, checkpoint, corpus=chosen.corpus, field=chosen.field, seed=seed
        )
    size = _number(registry, tokenizer, language, chosen, wanted, as_json)
    arguments: dict[str, Any] = {"lang": language.code, "base": base, "size": size, "recipe": recipe}
    if language.max_drift:
        arguments["max_drift"] = language.max_drift
    if dry_run:
        _print_plan(tokenizer, checkpoint, language, size or DEFAULT_SIZE, chosen.corpus, vocabulary, as_json)
        return 0
    _check_output(output, force)
    kept = read_protected(registry, language, chosen)
    with console.progress(as_json) as progress:
        if vocabulary:
            new = read_vocabulary(vocabulary)
            new = new if size is None else _first(new, size)
            inputs = [] if new.source is None else [new.source]
            arguments |= {"vocabulary": str(vocabulary)}
            start = start_from(registry, tokenizer, language, chosen, new)
        else:
            start = start_from(registry, tokenizer, language, chosen)
            new, inputs = learn_vocabulary(
                registry, start.tokenizer, language, size or DEFAULT_SIZE, chosen, progress, kept
            )
            arguments |= {"size": size or DEFAULT_SIZE, **chosen.to_manifest(language)}
        if how:
            arguments |= {"init": how.name, "seed": seed, **rows.to_manifest()}
        merge, name = _merger(registry, language, new, merger, recipe, add_special)
        extended = run(
            tokenizer,
            new,
            language,
            merge,
            output,
            add_special=() if recipe else add_special,
            base_text=kept.measured_on,
            checkpoint=checkpoint,
            how=how,
            link=link,
            arguments=arguments | {"merger": name, "add_special": list(add_special)},
            inputs=inputs,
            force=force,
            pretokenizer=chosen.pretokenizer,
            whole_words=start.to_json(),
            progress=progress.step,
        )
    _report(start, language, extended, how, base, as_json)
    # A recipe is asked for with its faults; anything else that breaks a guarantee is a failure.
    return 0 if extended.certificate.ok or recipe else 1


def _number(
    registry: Registry,
    tokenizer: Tokenizer,
    language: Language,
    chosen: LearningOptions,
    wanted: int | str | None,
    as_json: bool,
) -> int | None:
    """Return how many tokens to add; "auto" is the knee of what they cost and save.

    Raises VocabkitError when there is none.
    """
    if not isinstance(wanted, str):
        return wanted
    from vocabkit.cli.sizing import MOST_TOKENS, best_size

    with console.progress(as_json) as progress:
        size = best_size(registry, tokenizer, language, chosen, MOST_TOKENS, progress)
    if not size:
        raise VocabkitError(
            f"at every size a larger vocabulary costs more than shorter {language.name} text saves; `vocabkit advise "
            f"--lang {language.code}` shows it, and --size 2000 extends all the same"
        )
    console.note(f"note: --size auto is {size:,} tokens, the knee of what they cost and save")
    return size


def _checkpoint(tokenizer: Tokenizer) -> Checkpoint | None:
    """Open the model that the tokenizer came with, if there is one."""
    from vocabkit.rows.checkpoint import holds_model, open_checkpoint

    folder = tokenizer.source
    return open_checkpoint(folder) if folder.is_dir() and holds_model(folder) else None


def _check_output(output: Path, force: bool) -> None:
    """Refuse an existing output before an hour of learning, not after."""
    from vocabkit.files import check_target

    check_target(output, force)


def _first(vocabulary: Vocabulary, size: int) -> Vocabulary:
    if size > len(vocabulary):
        raise VocabkitError(
            f"{vocabulary.source} holds only {len(vocabulary):,} tokens; use --size {len(vocabulary)}, or learn more"
        )
    return vocabulary.first(size)


def _merger(
    registry: Registry,
    language: Language,
    vocabulary: Vocabulary,
    merger: str | None,
    recipe: str | None,
    add_special: tuple[str, ...],
) -> tuple[Merger, str]:
    from vocabkit.vocabulary.recipes import find_recipe

    if recipe:
        return find_recipe(recipe)(add_special), recipe
    name = merger or (language.merger if vocabulary.pieces is None else "bridge")
    return registry.merger(name), name


def _print_plan(
    tokenizer: Tokenizer,
    checkpoint: Checkpoint | None,
    language: Language,
    size: int,
    corpus: Any,
    vocabulary: Path | None,
    as_json: bool,
) -> None:
    from vocabkit.rows.surgery import grown_bytes
    from vocabkit.vocabulary.checks import padded_rows

    rows = padded_rows(tokenizer, tokenizer.size + size)
    source = str(vocabulary) if vocabulary else ", ".join(corpus or [language.sample_corpus or "?"])
    plan = {
        "base": str(tokenizer.source),
        "family": tokenizer.family,
        "base_size": tokenizer.size,
        "new_tokens": size,
        "size": tokenizer.size + size,
        "padded_size": rows,
        "from": source,
        "weights_grow_bytes": grown_bytes(checkpoint, rows) if checkpoint else None,
    }
    if as_json:
        console.result_json(plan)
        return
    console.result(
        f"Would add {size:,} {language.name} tokens from {source} to {tokenizer.source} ({tokenizer.family}):"
    )
    weights = f"; the weights grow by {grown_bytes(checkpoint, rows) / 1e6:,.0f} MB" if checkpoint else ""
    console.result(
        f"{tokenizer.size:,} tokens become {tokenizer.size + size:,} in {rows:,} rows{weights}. Nothing was written."
    )


def _report(
    start: Start, language: Language, extended: Extended, how: RowOptions | None, base_name: str, as_json: bool
) -> None:
    from vocabkit.measure.encode_length import encode_length

    base = start.base
    lines = [line for line in language.evaluation_text.splitlines() if line]
    tokenizers = [("base", base, None), ("extended", extended.tokenizer, base.size)]
    if start.is_widened:
        tokenizers.insert(1, ("widened base", start.tokenizer, None))
    texts = [(f"{language.code} evaluation text", lines)] if lines else []
    if start.is_widened and not texts:
        texts = [(f"the first lines of the {start.text}", list(start.lines))]
    rows = encode_length(tokenizers, texts)
    if as_json:
        console.result_json(
            {
                "output": str(extended.output),
                "family": base.family,
                "base_size": base.size,
                "new_tokens": len(extended.merged.added),
                "bridges": len(extended.merged.bridges),
                "dropped": len(extended.merged.dropped),
                "size": extended.tokenizer.size,
                "padded_size": extended.rows,
                "certificate": extended.certificate.to_json(),
                "weights": None
                if extended.weights is None
                else {"init": how.name if how else None, "told_apart": extended.weights.told_apart},
                "whole_words": start.to_json(),
                "encode_length": [row.to_json() for row in rows],
            }
        )
        return
    number = len(extended.merged.added)
    console.result(
        f"Added {number:,} {language.name} tokens to {base_name}: {base.size:,} -> {extended.tokenizer.size:,}"
    )
    if extended.merged.bridges:
        console.result(f"  {len(extended.merged.bridges):,} of them are bridges, which others are merged from")
    for piece, reason in list(extended.merged.dropped.items())[:3]:
        console.result(f"  left out {piece!r}: {reason}")
    if len(extended.merged.dropped) > 3:
        console.result(f"  ... {len(extended.merged.dropped):,} left out in all, listed in vocabkit.json")
    if start.is_widened and start.before and start.after:
        console.result(
            f"Pre-tokenizer extended: {start.before.share:.0%} -> {start.after.share:.0%} of {start.before.words:,} "
            f"words of the {start.text} in one piece"
        )
    if rows:
        before, after = rows[0], rows[-1]
        saved = 1 - after.tokens / max(before.tokens, 1)
        console.result(
            f"Gained: {before.tokens_per_character:.3f} -> {after.tokens_per_character:.3f} tokens per character on "
            f"{before.text} ({saved:.0%} fewer tokens)"
        )
        if start.is_widened:
            console.result(f"  {rows[1].tokens_per_character:.3f} with the pre-tokenizer extended and no new token")
    state = "holds" if extended.certificate.ok else f"FAILED: {', '.join(extended.certificate.failed)}"
    console.result(f"Certificate {state}")
    console.certificate(extended.certificate)
    if extended.weights and how:
        console.result(f"Weights: {extended.rows:,} rows, new ones by {how.name}; they are not trained yet")
        console.result(f"Files: {extended.output}/")
    else:
        console.result(f"Files: {extended.output}/ ({extended.rows:,} embedding rows when a model is resized)")
    if extended.weights:
        console.result(f"Next: vocabkit bench perplexity {extended.output} {base_name} --text HELD_OUT_TEXT")
        return
    console.result(f"Next: vocabkit bench encode-length {extended.output} {base_name} --lang {language.code}")
