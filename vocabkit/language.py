"""What a language plugin hands over: one `Language`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from vocabkit.errors import VocabkitError, described

# For `scripts` of a language that shares English's letters: ASCII, those with marks without × and ÷, those of
# phonetic alphabets, those of Vietnamese and Yoruba, and combining tones, for ẹ́ is two characters.
LATIN = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x02AF), (0x1E00, 0x1EFF), (0x0300, 0x036F))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list_of_text(value: object) -> bool:
    # A text is a sequence of texts as well, and `samples=("one")` is one.
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_ranges(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(end, int) for end in pair) for pair in value
    )


# Names of fields, what must hold of their values, and how that is said.
FIELD_KINDS: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("code name native_name punctuation segmenter evaluation_text learner merger initializer", _is_text, "text"),
    ("samples neighbours", _is_list_of_text, 'a tuple of text, as in ("one",)'),
    ("scripts", _is_ranges, "a tuple of pairs of code points, as in ((0x0F00, 0x0FFF),)"),
    ("normalize segment variants", lambda value: value is None or callable(value), "a function of text"),
    ("sample_corpus", lambda value: value is None or _is_text(value), "what --corpus takes, or None"),
    ("max_drift", lambda value: isinstance(value, int | float) and 0 <= value <= 1, "a share, 0.01 for 1 %"),
    ("max_token_length", lambda value: isinstance(value, int) and value > 0, "a number of characters"),
)


@dataclass(frozen=True)
class Language:
    """A language that a tokenizer can be taught.

    code: BCP 47 tag, the word after `--lang`.
    scripts: inclusive code point ranges of the language's own characters.  Every new token holds at least
        one of them, so text without them is segmented exactly as before.
    native_name: the language's name in itself.
    neighbours: codes of languages written in the same script, whose text only language identification tells apart;
        from every other language it is told by its script.
    punctuation: marks that may stand inside a token beside the language's own characters.
    normalize: text -> text, applied to the corpus only under `--normalize`; idempotent, and it keeps every letter.
    segment: text -> words that join to the text again; used for word metrics and never for learning.
    segmenter: name and version of `segment`, printed with every figure that depends on it.
    variants: text -> other spellings of the same text (simplified, traditional); a new token starts from the row of
        an old one with another spelling.
    sample_corpus: what `extend` learns from when no corpus is named, for example "wordfreq:zh".
    evaluation_text: paragraphs on which gains are measured; never part of the sample corpus.
    max_drift: share of the lines of English text that may be segmented anew; more than 0 only for a language whose
        script is English's too, where no extension is without it.
    max_token_length: longest token worth learning, in characters; small corpora learn boilerplate otherwise.
    learner, merger, initializer: names of the methods this language prefers; "auto" is the initialiser without
        training that measured best among those that can run.
    """

    code: str
    name: str
    scripts: tuple[tuple[int, int], ...]
    punctuation: str = ""
    normalize: Callable[[str], str] | None = None
    segment: Callable[[str], list[str]] | None = None
    segmenter: str = ""
    variants: Callable[[str], Iterable[str]] | None = None
    sample_corpus: str | None = None
    evaluation_text: str = field(default="", repr=False)
    samples: tuple[str, ...] = field(default=(), repr=False)
    max_drift: float = 0.0
    max_token_length: int = 16
    learner: str = "continued-bpe"
    merger: str = "ranked"
    initializer: str = "auto"
    native_name: str = ""
    neighbours: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise VocabkitError for a field of another kind: whoever lists the languages would stumble over it."""
        for names, holds, wanted in FIELD_KINDS:
            for name in names.split():
                value = getattr(self, name)
                if not holds(value):
                    raise VocabkitError(f"language {self.code!r}: {name} is {repr(value)[:80]}; it must be {wanted}")

    def run(self, name: str, text: str) -> Any:
        """Return what the plugin's function `name` makes of a text: text, or a list for `segment` and `variants`.

        Raises VocabkitError with the language's name when the function raises, or returns something else.
        """
        try:
            result = getattr(self, name)(text)
            result = list(result) if name == "variants" else result
        except Exception as error:
            what = f"{name} fails on {_short(text)} with {described(error)}"
            raise VocabkitError(f"language {self.code!r}: {what}") from error
        holds, wanted = (_is_text, "text") if name == "normalize" else (_is_list_of_text, "a list of text")
        if not holds(result):
            what = f"{name} gives {repr(result)[:80]} for {_short(text)}; it must return {wanted}"
            raise VocabkitError(f"language {self.code!r}: {what}")
        return result

    def owns(self, character: str) -> bool:
        """Return whether `character` belongs to the language's scripts."""
        code_point = ord(character)
        return any(first <= code_point <= last for first, last in self.scripts)


def check_language(language: Language) -> None:
    """Raise VocabkitError unless `language` keeps what its fields promise: a plugin author's whole test suite."""

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise VocabkitError(f"language {language.code!r}: {what}")

    texts = [*language.samples, *language.evaluation_text.splitlines()]
    require(bool(language.code and language.name), "give it a code and a name")
    require(bool(language.scripts), "declare at least one range of code points in `scripts`")
    require(all(first <= last for first, last in language.scripts), "a script range ends before it begins")
    english = "".join(c for c in map(chr, range(128)) if language.owns(c))
    shared = f"scripts hold {english!r}, which English is written with; leave ASCII out, or set max_drift to 0.01"
    require(not english or language.max_drift > 0, shared)
    require(bool(language.samples), "give at least one sample sentence in `samples`")
    for text in language.samples:
        require(any(language.owns(c) for c in text), f"sample {text!r} has no character of the declared scripts")
    for mark in language.punctuation:
        is_mark = unicodedata.category(mark)[0] in "PS"
        require(is_mark, f"punctuation holds {mark!r}, which is neither punctuation nor a symbol")
        require(not mark.isascii(), f"punctuation holds {mark!r}: ASCII marks belong to every language's text")
    if language.segment:
        require(bool(language.segmenter), "name the segmenter and its version in `segmenter`")
    for text in texts:
        if language.normalize:
            once = language.run("normalize", text)
            require(_letters(once) >= _letters(text), f"normalize loses letters of {text!r}")
            require(language.run("normalize", once) == once, f"normalize is not idempotent on {text!r}")
        if language.segment:
            require("".join(language.run("segment", text)) == text, f"segment loses or invents text in {text!r}")


def _letters(text: str) -> int:
    """Return how many letters `text` has when ligatures and syllables are taken apart: "ﻼ" has two."""
    return sum(unicodedata.category(c) in ("Lu", "Ll", "Lo") for c in unicodedata.normalize("NFKD", text))


def _short(text: str) -> str:
    """Return the beginning of `text`, as it would be written in Python: a corpus comes in blocks of a megabyte."""
    return repr(text) if len(text) <= 80 else f"{text[:80]!r}..."
