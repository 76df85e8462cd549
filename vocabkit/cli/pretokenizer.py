"""`--pretokenizer`: what the base does to words of the language, said when it cuts them, and changed when asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from vocabkit import console
from vocabkit.language import Language
from vocabkit.plugins import Registry
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.whole_words import WholeWords, texts_of, whole_words
from vocabkit.tokenizer.widen import EXTEND, widened

if TYPE_CHECKING:
    from vocabkit.cli.learning import LearningOptions
    from vocabkit.vocabulary.vocabulary_file import Vocabulary

# Lines of the corpus that words are counted in, from its beginning: the share of cut words hardly varies.
LINES = 2_000
# Below this a note says so.
ENOUGH = 0.9


@dataclass(frozen=True)
class Start:
    """What is learned on and merged into: the base, or the base with its pre-tokenizer extended.

    lines: what was counted.  before, after: words in one piece on the base, and on `tokenizer`; None for a base that
    cuts by no pattern.
    """

    base: Tokenizer
    tokenizer: Tokenizer
    text: str
    lines: Sequence[str]
    before: WholeWords | None
    after: WholeWords | None

    @property
    def is_widened(self) -> bool:
        """Whether the pre-tokenizer was extended."""
        return self.tokenizer is not self.base

    def to_json(self) -> dict[str, Any] | None:
        """Return the shares as plain data; None for a base that cuts by no pattern."""
        if not self.before or not self.after:
            return None
        shares = {"base": round(self.before.share, 4), "output": round(self.after.share, 4)}
        return {"text": self.text, "words": self.before.words, **shares}


def start_from(
    registry: Registry,
    base: Tokenizer,
    language: Language,
    options: LearningOptions,
    vocabulary: Vocabulary | None = None,
) -> Start:
    """Return the tokenizer to learn on; a note says when a base that is kept cuts many words.

    vocabulary: what is merged, where nothing is learned.
    Raises VocabkitError when --pretokenizer extend is asked for and changes nothing, or does not fit `vocabulary`.
    """
    extends = options.pretokenizer == EXTEND
    if vocabulary is not None:
        vocabulary.check_pretokenizer(options.pretokenizer)
    text, lines = "samples", texts_of(language)
    if whole_words(base, language, ()) is not None:
        if vocabulary is None:
            found = list(islice(_corpus_lines(registry, language, options), LINES))
            text, lines = ("corpus", found) if found else (text, lines)
        elif extends:
            lines = [*lines, *(token.text.strip() for token in vocabulary.tokens)]
    tokenizer = widened(base, language, lines) if extends else base
    before, after = (whole_words(one, language, lines) for one in (base, tokenizer))
    if before and before.share < ENOUGH and not extends:
        console.note(
            f"note: the pre-tokenizer of {base.source} leaves {before.share:.0%} of {before.words:,} "
            f"{language.name} words in one piece, and no token can span a cut; --pretokenizer extend keeps them whole"
        )
    return Start(base, tokenizer, text, lines, before, after)


def _corpus_lines(registry: Registry, language: Language, options: LearningOptions) -> Iterator[str]:
    """Yield lines of the corpus that hold a word of the language; stdin cannot be read twice, and gives none."""
    from vocabkit.corpus import open_corpus

    specs = list(options.corpus) or ([language.sample_corpus] if language.sample_corpus else [])
    if not specs or "-" in specs:
        return
    for text in open_corpus(specs, registry=registry, field=options.field, on_bad_text=options.on_bad_text):
        for line in text.text.split("\n"):
            if any(map(language.owns, line)):
                yield line
