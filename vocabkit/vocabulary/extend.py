"""Extend a base tokenizer: merge a vocabulary, write the files, prove that nothing else broke."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.files import whole_folder
from vocabkit.language import Language
from vocabkit.manifest import write_manifest
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.vocabulary.checks import padded_rows
from vocabkit.vocabulary.merge import Merged
from vocabkit.vocabulary.verify import Certificate, verify
from vocabkit.vocabulary.vocabulary_file import Vocabulary, write_vocabulary

Merger = Callable[[Tokenizer, Vocabulary, Language], Merged]


@dataclass(frozen=True)
class Extended:
    """What `extend` wrote.

    rows: embedding rows that the tokenizer needs, padded.  certificate: what was proven.
    """

    output: Path
    tokenizer: Tokenizer
    merged: Merged
    rows: int
    certificate: Certificate


def extend(
    base: Tokenizer,
    vocabulary: Vocabulary,
    language: Language,
    merger: Merger,
    output: Path,
    *,
    add_special: Sequence[str] = (),
    texts: Sequence[str] = (),
    arguments: Mapping[str, Any],
    inputs: Sequence[Path] = (),
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Extended:
    """Write `base` extended by `vocabulary` into the folder `output`, which appears whole or not at all.

    add_special: special tokens appended after the vocabulary.  texts: further lines to verify on.
    arguments, inputs: what the manifest records of the command and of the files it read.
    Raises VocabkitError when the vocabulary does not fit the base, or the output exists without `force`.
    """

    def build() -> tuple[Tokenizer, Merged]:
        merged = merger(base, vocabulary, language)
        tokenizer = merged.tokenizer.with_special_tokens(add_special) if add_special else merged.tokenizer
        return tokenizer, merged

    with whole_folder(output, force=force) as folder:
        tokenizer, merged = build()
        tokenizer.save(folder)
        write_vocabulary(merged.added, folder)
        certificate = verify(
            tokenizer,
            base,
            folder=folder,
            language=language,
            added_specials=add_special,
            texts=texts,
            rebuild=lambda: build()[0],
            progress=progress,
        )
        rows = padded_rows(base, tokenizer.size)
        write_manifest(
            folder,
            "extend",
            arguments=arguments,
            inputs=inputs,
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
            certificate=certificate.to_json(),
        )
    return Extended(output, tokenizer, merged, rows, certificate)
