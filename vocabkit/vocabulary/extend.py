"""Extend a base: merge a vocabulary, grow the weights, write the files, prove that nothing else broke."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.files import whole_folder
from vocabkit.language import Language
from vocabkit.manifest import XXH3, write_manifest
from vocabkit.rows.checkpoint import Checkpoint, open_checkpoint
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.widen import EXTEND, KEEP, with_wide_words
from vocabkit.vocabulary.checks import padded_rows
from vocabkit.vocabulary.merge import Merged
from vocabkit.vocabulary.model_card import write_generation_config, write_model_card
from vocabkit.vocabulary.requests import RowOptions
from vocabkit.vocabulary.verify import Certificate, verify
from vocabkit.vocabulary.vocabulary_file import Vocabulary, write_vocabulary
from vocabkit.vocabulary.weights import Extension, extend_weights

Merger = Callable[[Tokenizer, Vocabulary, Language], Merged]


@dataclass(frozen=True)
class Extended:
    """What `extend` wrote.

    rows: embedding rows that the tokenizer needs, padded.  certificate: what was proven.
    weights: what was written of the model, None when only a tokenizer was extended.
    """

    output: Path
    tokenizer: Tokenizer
    merged: Merged
    rows: int
    certificate: Certificate
    weights: Extension | None = None


def extend(
    base: Tokenizer,
    vocabulary: Vocabulary,
    language: Language,
    merger: Merger,
    output: Path,
    *,
    add_special: Sequence[str] = (),
    texts: Sequence[str] = (),
    base_text: Sequence[str] = (),
    checkpoint: Checkpoint | None = None,
    how: RowOptions | None = None,
    link: bool = False,
    arguments: Mapping[str, Any],
    inputs: Sequence[Path] = (),
    force: bool = False,
    pretokenizer: str = KEEP,
    whole_words: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Extended:
    """Write `base` extended by `vocabulary` into the folder `output`, which appears whole or not at all.

    add_special: special tokens appended after the vocabulary.  texts: further lines to verify on.
    base_text: lines of the base's own languages, of which at most the language's `max_drift` may change.
    checkpoint, how: the base's weights, and how their new rows are made; without them only the tokenizer is extended.
    link: hard-link the shards that do not change.
    arguments, inputs: what the manifest records of the command and of the files it read.
    pretokenizer: "extend" for a vocabulary learned on `base` with its pre-tokenizer widened for `language`.
    whole_words: what the manifest records of the words that the pre-tokenizer leaves in one piece.
    Raises VocabkitError when the vocabulary does not fit the base, or the output exists without `force`.
    """

    vocabulary.check_pretokenizer(pretokenizer)
    start = with_wide_words(base, language) if pretokenizer == EXTEND else base

    def build() -> tuple[Tokenizer, Merged]:
        merged = merger(start, vocabulary, language)
        tokenizer = merged.tokenizer.with_special_tokens(add_special) if add_special else merged.tokenizer
        return tokenizer, merged

    with whole_folder(output, force=force) as folder:
        tokenizer, merged = build()
        tokenizer.save(folder)
        write_vocabulary(merged.added, folder, pretokenizer)
        rows = padded_rows(base, tokenizer.size)
        weights = None
        if checkpoint and how:
            weights = extend_weights(
                checkpoint, start, tokenizer, merged.added, folder, rows=rows, how=how, link=link, progress=progress
            )
            write_generation_config(checkpoint, folder, size=tokenizer.size, rows=rows)
            write_model_card(
                checkpoint, folder, language, base_size=base.size, size=tokenizer.size, rows=rows, init=how.name
            )
        certificate = verify(
            tokenizer,
            base,
            folder=folder,
            language=language,
            added_specials=add_special,
            texts=texts,
            base_text=base_text,
            rebuild=lambda: build()[0],
            weights=(checkpoint, open_checkpoint(folder)) if checkpoint and weights else None,
            pretokenizer=pretokenizer,
            progress=progress,
        )
        write_manifest(
            folder,
            "extend",
            arguments=arguments,
            inputs=inputs,
            checksums={name: f"{XXH3}{value}" for name, value in weights.checksums.items()} if weights else None,
            base={
                "name": base.source.name,
                "family": base.family,
                "size": base.size,
                "rows": base.padded_size,
            },
            language=language.code,
            new_tokens=len(merged.added),
            added_special=list(add_special),
            size=tokenizer.size,
            padded_size=rows,
            bridges=list(merged.bridges),
            dropped=merged.dropped,
            **({"whole_words": dict(whole_words)} if whole_words else {}),
            **({"pretokenizer": EXTEND} if pretokenizer == EXTEND else {}),
            **({"init": how.name, "seed": how.seed, "told_apart": weights.told_apart} if how and weights else {}),
            certificate=certificate.to_json(),
        )
    return Extended(output, tokenizer, merged, rows, certificate, weights)
