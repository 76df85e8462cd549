"""`vocabkit bench perplexity` and `vocabkit bench init`: measure models on text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.measure.inits import Candidate
    from vocabkit.rows.checkpoint import Checkpoint
    from vocabkit.tokenizer.base import NewToken, Tokenizer
    from vocabkit.vocabulary.requests import RowOptions

DEFAULT_SIZE = 4_000
# An initialiser that takes this many seconds of processor time is run with one seed alone.
SLOW = 30.0

text = click.option(
    "--text", multiple=True, required=True, metavar="TEXT", help="File in any corpus format; may be repeated."
)
device = click.option("--device", help="cpu, cuda, ...  [default: a GPU when there is one]")
dtype = click.option("--dtype", default="auto", show_default=True, help="float32, bfloat16, ...")
context = click.option(
    "--context", type=click.IntRange(2), default=1024, show_default=True, help="Tokens seen at most."
)


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@text
@device
@dtype
@context
@options.as_json
@click.pass_obj
def perplexity(
    registry: Registry,
    models: tuple[str, ...],
    text: tuple[str, ...],
    device: str | None,
    dtype: str,
    context: int,
    as_json: bool,
) -> None:
    """Bits per byte of models on texts, comparable across vocabularies; each line is a document.

    \b
    Example:
      vocabkit bench perplexity llm-zh ./Llama-3.2-1B --text held-out.zh.txt --text held-out.en.txt
    """
    from vocabkit.measure.perplexity import perplexity as measure
    from vocabkit.model.load import load_model
    from vocabkit.tokenizer import open_tokenizer

    texts = _read(registry, text)
    rows = []
    with console.progress(as_json) as progress:
        for name in models:
            tokenizer = open_tokenizer(name)
            progress.step(f"Loading {name}")
            model = load_model(_folder(name), device=device, dtype=dtype)
            for text_name, lines in texts:
                progress.step(f"Scoring {name} on {text_name}")
                rows.append(measure(name, model, tokenizer, text_name, lines, context=context))
            del model
    if as_json:
        console.result_json({"rows": [row.to_json() for row in rows]})
        return
    for text_name, lines in texts:
        cells = [
            [
                row.model,
                f"{row.bits_per_byte:.3f}",
                f"{row.bits_per_character:.3f}",
                f"{row.tokens:,}",
                f"{row.bits_per_token:.3f}",
                f"{row.perplexity:.1f}",
            ]
            for row in rows
            if row.text == text_name
        ]
        columns = ["model", "bits/byte", "bits/char", "tokens", "bits/token", "ppl/token"]
        console.table(f"{text_name}: {len(lines):,} lines", columns, cells)


@click.command()
@click.argument("model")
@text
@click.option("--lang", required=True, metavar="CODE", help="Language, as `vocabkit languages` lists it.")
@click.option("--vocabulary", type=click.Path(path_type=Path), metavar="V", help="Output of `vocabkit learn`.")
@click.option("--size", type=click.IntRange(1), help="New tokens.  [default: 4000, or all of --vocabulary]")
@options.learning
@options.making_rows
@click.option("--init", "inits", multiple=True, metavar="NAME", help="Only these; may be repeated.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Of those that draw at random.")
@device
@dtype
@context
@options.as_json
@click.pass_obj
def init(
    registry: Registry,
    /,
    model: str,
    text: tuple[str, ...],
    lang: str,
    vocabulary: Path | None,
    size: int | None,
    init_option: tuple[str, ...],
    init_corpus: tuple[str, ...],
    donor: Path | None,
    inits: tuple[str, ...],
    seeds: int,
    device: str | None,
    dtype: str,
    context: int,
    as_json: bool,
    **learning: Any,
) -> None:
    """Compare every way to make new rows by bits per byte before training; put text of the base's language last.

    \b
    Example:
      vocabkit bench init ./Llama-3.2-1B --lang zh --corpus books/ --text held-out.zh.txt --text held-out.en.txt
    """
    from vocabkit.cli.learning import LearningOptions, learn_vocabulary, read_protected
    from vocabkit.cli.pretokenizer import start_from
    from vocabkit.cli.rows import AUTO, RowChoice, row_options
    from vocabkit.measure.inits import measure_inits
    from vocabkit.model.load import load_model
    from vocabkit.rows.checkpoint import open_checkpoint
    from vocabkit.tokenizer import open_tokenizer
    from vocabkit.vocabulary.vocabulary_file import read_vocabulary

    names = inits or tuple(name for name in sorted(registry.initializers) if donor or name != "omp")
    for name in names:
        if name != AUTO:
            registry.initializer(name)
    base = open_tokenizer(model)
    checkpoint, texts = open_checkpoint(_folder(model)), _read(registry, text)
    chosen, choice = LearningOptions(**learning), RowChoice(init_option, init_corpus, donor)
    language = chosen.adapted(registry.language(lang))
    kept = read_protected(registry, language, chosen)
    with console.progress(as_json) as progress:
        if vocabulary:
            new = read_vocabulary(vocabulary)
            new = new.first(size) if size else new
            start = start_from(registry, base, language, chosen, new).tokenizer
        else:
            start = start_from(registry, base, language, chosen).tokenizer
            new, _ = learn_vocabulary(registry, start, language, size or DEFAULT_SIZE, chosen, progress, kept)
        merged = registry.merger(language.merger if new.pieces is None else "bridge")(start, new, language)
        progress.step(f"Loading {model}")
        loaded = load_model(_folder(model), device=device, dtype=dtype)

        def how(name: str, seed: int) -> RowOptions:
            return row_options(
                registry,
                language,
                name,
                choice,
                checkpoint,
                corpus=chosen.corpus,
                field=chosen.field,
                seed=seed,
                model=lambda: loaded,
            )

        candidates = _candidates(names, seeds, how, checkpoint, start, merged.tokenizer, merged.added, progress.step)
        scores = measure_inits(
            loaded, base, merged.tokenizer, texts, candidates, context=context, progress=progress.step
        )
    if as_json:
        console.result_json({"model": model, "new_tokens": len(merged.added), "rows": [s.to_json() for s in scores]})
        return
    scores = [scores[0], *sorted(scores[1:], key=lambda score: score.bits_per_byte[texts[0][0]])]
    columns = ["initialiser", *(name for name, _ in texts), "equal rows", "norm", "delta log Z", "greatest", "CPU s"]
    cells = []
    for score in scores:
        bits = [
            f"{score.bits_per_byte[t]:.3f}" + (f" ±{score.spread[t] / 2:.3f}" if score.seeds > 1 else "")
            for t, _ in texts
        ]
        shift = [f"{score.log_z:.4f}", f"{score.log_z_max:.3f}", f"{score.seconds:.1f}"]
        cells.append([score.initializer, *bits, f"{score.equal:,}", f"{score.norm:.2f}", *shift])
    console.table(
        f"Bits per byte at step 0, {len(merged.added):,} new {language.name} tokens in {model}", columns, cells
    )


def _candidates(
    names: Sequence[str],
    seeds: int,
    how: Callable[[str, int], RowOptions],
    checkpoint: Checkpoint,
    base: Tokenizer,
    tokenizer: Tokenizer,
    added: Sequence[NewToken],
    progress: Callable[[str], None],
) -> Iterator[Candidate]:
    import numpy as np

    from vocabkit.cli.rows import AUTO
    from vocabkit.measure.inits import Candidate
    from vocabkit.rows.distinct import repeated_rows
    from vocabkit.rows.dtypes import rounded
    from vocabkit.vocabulary.requests import Requests, rows_by

    requests = Requests(checkpoint, base, tokenizer, added)
    for name in names:
        before: dict[str, Any] = {}
        for seed in range(seeds):
            rows, equal, options, begun = {}, 0, how(name, seed), time.process_time()
            for tensor, _, request in requests.of(options, progress):
                rows[request.role] = rows_by(options, request)
                width = tensor.tensor.shape[1]
                equal += len(repeated_rows(rounded(rows[request.role][:, :width], tensor.dtype, tensor.name)))
            seconds = time.process_time() - begun
            if before and all(np.array_equal(before[role], rows[role]) for role in rows):
                break  # nothing is drawn at random
            yield Candidate(name if name != AUTO else f"{AUTO}: {options.name}", rows, equal, seconds)
            before = rows
            if seconds > SLOW:
                break


def _read(registry: Registry, specs: Sequence[str]) -> list[tuple[str, list[str]]]:
    from vocabkit.cli.texts import read_lines

    texts = [(spec, read_lines(spec, registry)) for spec in specs]
    empty = next((name for name, lines in texts if not lines), None)
    if empty is not None:
        raise VocabkitError(f"{empty} holds no text; name another file with --text")
    return texts


def _folder(name: str) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise VocabkitError(f"{name} is no folder; name the folder of a model")
    return folder
