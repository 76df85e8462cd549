"""Learn a vocabulary from a corpus: what `vocabkit learn` and `vocabkit extend` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vocabkit import console
from vocabkit.cli.options import default_workers
from vocabkit.errors import TooLittleTextError, VocabkitError
from vocabkit.language import Language, check_language
from vocabkit.plugins import Registry
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.vocabulary_file import Vocabulary

if TYPE_CHECKING:
    from vocabkit.corpus.held_out import HeldOut
    from vocabkit.vocabulary.drift import BaseText


@dataclass(frozen=True)
class LearningOptions:
    """The options that `cli.options.learning` adds, as one value."""

    corpus: Sequence[str]
    max_length: int | None
    min_count: int
    bridges: bool
    max_drift: float | None
    base_text: Sequence[str]
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
            **({"base_text": self.base_text_of(language)} if language.max_drift else {}),
            "normalize": self.normalize,
            "field": self.field,
            "on_bad_text": self.on_bad_text,
            "pretokenizer": self.pretokenizer,
        }

    def adapted(self, language: Language) -> Language:
        """Return the language with the drift that was asked for.

        Raises VocabkitError when its script is its own, so that no drift is needed.
        """
        if self.max_drift is None:
            return language
        if not language.max_drift:
            raise VocabkitError(
                f"{language.name} has a script of its own, so no other text changes; leave --max-drift out"
            )
        return replace(language, max_drift=self.max_drift)

    def base_text_of(self, language: Language) -> list[str]:
        """Return what is to stay as it is: what was named, or English, for a language in English's script."""
        if not language.max_drift and self.base_text:
            raise VocabkitError(
                f"{language.name} has a script of its own, so no other text changes; leave --base-text out"
            )
        return list(self.base_text or ["wordfreq:en"]) if language.max_drift else []


def read_protected(registry: Registry, language: Language, options: LearningOptions) -> BaseText:
    """Return the text that is to stay as it is, which is none for a language with a script of its own."""
    from vocabkit.cli.texts import read_base_text
    from vocabkit.vocabulary.drift import BaseText

    specs = options.base_text_of(language)
    if not specs:
        return BaseText()
    if not options.base_text and find_spec("wordfreq") is None:
        raise VocabkitError(
            f"{language.name} is written as English is, and English text says which tokens may be learned: "
            f"`pip install 'vocabkit[starter]'`, or name your own with --base-text"
        )
    return read_base_text(specs, registry)


def learn_vocabulary(
    registry: Registry,
    base: Tokenizer,
    language: Language,
    size: int,
    options: LearningOptions,
    progress: console.Progress,
    base_text: BaseText,
    *,
    apart: HeldOut | None = None,
    or_fewer: bool = False,
) -> tuple[Vocabulary, list[Path]]:
    """Return the vocabulary learned from the corpus, and the files that were read.

    base_text: what is to stay as it is where the language shares its script.
    apart: keeps lines of the corpus that are not learned from.  or_fewer: learn as many as the corpus supports.
    """
    from vocabkit.corpus import count_spans, open_corpus
    from vocabkit.vocabulary.drift import learn_within
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
        apart(corpus) if apart else corpus,
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

    def learn(refused: frozenset[bytes], size: int = size) -> list[NewToken]:
        found: list[NewToken] = registry.learner(language.learner)(
            base,
            language,
            counted.counts,
            size=size,
            max_length=options.max_length or language.max_token_length,
            min_count=options.min_count,
            bridges=options.bridges,
            **({"refused": refused} if refused else {}),
            progress=lambda done: progress.count(done, size),
        )
        return found

    def attempt(refused: frozenset[bytes]) -> list[NewToken]:
        try:
            return learn(refused)
        except TooLittleTextError as error:
            if not or_fewer or not error.supported:
                raise
            return learn(refused, error.supported)

    if not language.max_drift:
        return Vocabulary(tokens=tuple(attempt(frozenset())), pretokenizer=options.pretokenizer), corpus.files
    bounded = learn_within(base, language, base_text, language.max_drift, attempt)
    console.note(
        f"note: {bounded.refused:,} tokens of the base's own text were not learned, so that at most "
        f"{language.max_drift:.2%} of its lines change"
    )
    return Vocabulary(tokens=tuple(bounded.tokens), pretokenizer=options.pretokenizer), corpus.files
