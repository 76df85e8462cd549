"""`vocabkit learn`: new tokens from text, written as a vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.plugins import Registry


@click.command()
@options.lang
@options.base
@click.option("--size", type=click.IntRange(1), default=12_000, show_default=True, help="Tokens to learn.")
@options.learning
@options.output
@options.force
@options.as_json
@click.pass_obj
def learn(
    registry: Registry,
    /,
    lang: str,
    base: str,
    size: int,
    output: Path,
    force: bool,
    as_json: bool,
    **learning: Any,
) -> None:
    """Learn new tokens for a language on a base tokenizer.

    \b
    Example:
      vocabkit learn --lang zh --base ./Llama-3.2-1B --corpus news.jsonl.zst --size 20000 -o zh-20k
      vocabkit extend --lang zh --base ./Llama-3.2-1B --vocabulary zh-20k --size 8000 -o out

    The first N lines of the result are what learning N tokens gives: learn many once, then try sizes.
    """
    from vocabkit.cli.learning import LearningOptions, learn_vocabulary, read_protected
    from vocabkit.cli.pretokenizer import start_from
    from vocabkit.files import whole_folder
    from vocabkit.manifest import write_manifest
    from vocabkit.tokenizer import open_tokenizer
    from vocabkit.vocabulary.vocabulary_file import write_vocabulary

    chosen = LearningOptions(**learning)
    language = chosen.adapted(registry.language(lang))
    tokenizer = open_tokenizer(base)
    kept = read_protected(registry, language, chosen)
    with whole_folder(output, force=force) as folder, console.progress(as_json) as progress:
        start = start_from(registry, tokenizer, language, chosen)
        vocabulary, inputs = learn_vocabulary(registry, start.tokenizer, language, size, chosen, progress, kept)
        write_vocabulary(vocabulary.tokens, folder, chosen.pretokenizer)
        arguments = {"lang": lang, "base": base, "size": size, **chosen.to_manifest(language)}
        write_manifest(folder, "learn", arguments=arguments, inputs=inputs, family=tokenizer.family)
    bridges = sum(token.is_bridge for token in vocabulary.tokens)
    if as_json:
        document = {"output": str(output), "tokens": len(vocabulary), "bridges": bridges, "base": base}
        console.result_json(document | {"whole_words": start.to_json()})
        return
    examples = " ".join(token.text for token in vocabulary.tokens if len(token.text) > 1 and not token.is_bridge)
    console.result(f"Learned {len(vocabulary):,} tokens, the first of them: {examples[:60]} ...")
    more = " --pretokenizer extend" if start.is_widened else ""
    console.result(
        f"Next: vocabkit extend --lang {lang} --base {base} --vocabulary {output}{more} -o {output}-tokenizer"
    )
