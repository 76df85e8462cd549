"""Learn a vocabulary from a corpus: what `vocabkit learn` and `vocabkit extend` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vocabkit import console
from vocabkit.cli.options import default_workers
from vocabkit.errors import VocabkitError
from vocabkit.language import Language, check_language
from vocabkit.plugins import Registry
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.vocabulary.vocabulary_file import Vocabulary


@dataclass(frozen=True)
class LearningOptions:
    """The options that `cli.options.learning` adds, as one value."""

    corpus: Sequence[str]
    max_length: int | None
    min_count: int
    bridges: bool
    normalize: bool
    field: str
    on_bad_text: str
    workers: int | None
    max_memory: int
    pretokenizer: str

    def to_manifest(self, language: Language) -> dict[str, object]:
        """Return what decides the result; workers and memory do not, unless the memory bound is reached."""
        return {
            "corpus": list(self.corpus or [language.sample_corpus or ""]),
            "max_length": self.max_length or language.max_token_length,
            "min_count": self.min_count,
            "bridges": self.bridges,
            "normalize": self.normalize,
            "field": self.field,
            "on_bad_text": self.on_bad_text,
            "pretokenizer": self.pretokenizer,
        }


def learn_vocabulary(
    registry: Registry,
    base: Tokenizer,
    language: Language,
    size: int,
    options: LearningOptions,
    progress: console.Progress,
) -> tuple[Vocabulary, list[Path]]:
    """Return the vocabulary learned from the corpus, and the files that were read."""
    from vocabkit.corpus import count_spans, open_corpus
    from vocabkit.vocabulary.spans import SpanCutter

    specs = list(options.corpus) or ([language.sample_corpus] if language.sample_corpus else [])
    if not specs:
        raise VocabkitError(f"{language.name} has no sample corpus; name your own text with --corpus")
    if options.normalize:
        # A normaliser that loses text would be noticed only by what is missing from the vocabulary.
        check_language(language)
    corpus = open_corpus(specs, registry=registry, field=options.field, on_bad_text=options.on_bad_text)
    progress.step(f"Reading {', '.join(specs)}")
    counted = count_spans(
        corpus,
        SpanCutter(base.preparer(), language, options.normalize),
        workers=options.workers or default_workers(),
        max_memory=options.max_memory,
        progress=lambda: progress.count(corpus.bytes_read, corpus.total_bytes, "bytes"),
    )
    for line in corpus.problems.summaries():
        console.note(f"note: {line}")
    if counted.dropped_spans:
        console.note(
            f"note: {counted.dropped_spans:,} rare spans ({counted.dropped_weight:,} occurrences) were left out: "
            f"--max-memory is reached"
        )
    progress.step(f"Learning {size:,} tokens")
    tokens = registry.learner(language.learner)(
        base,
        language,
        counted.counts,
        size=size,
        max_length=options.max_length or language.max_token_length,
        min_count=options.min_count,
        bridges=options.bridges,
        progress=lambda done: progress.count(done, size),
    )
    return Vocabulary(tokens=tuple(tokens), pretokenizer=options.pretokenizer), corpus.files
