"""What a language plugin hands over: one `Language`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from vocabkit.errors import VocabkitError


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
    require(0 <= language.max_drift <= 1, f"max_drift is {language.max_drift}; it is a share, 0.01 for 1 %")
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
            once = _run(language, "normalize", language.normalize, text)
            require(isinstance(once, str), f"normalize gives {once!r} for {text!r}; it must return text")
            require(_letters(once) >= _letters(text), f"normalize loses letters of {text!r}")
            again = _run(language, "normalize", language.normalize, once)
            require(again == once, f"normalize is not idempotent on {text!r}")
        if language.segment:
            pieces = _run(language, "segment", language.segment, text)
            is_list = isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces)
            require(is_list, f"segment gives {pieces!r} for {text!r}; it must return a list of text")
            require("".join(pieces) == text, f"segment loses or invents text in {text!r}")


def _run(language: Language, name: str, function: Callable[[str], Any], text: str) -> Any:
    """Call a plugin's function; whatever it raises is said with the language's name."""
    try:
        return function(text)
    except Exception as error:
        what = f"{name} fails on {text!r} with {type(error).__name__}: {error}"
        raise VocabkitError(f"language {language.code!r}: {what}") from error


def _letters(text: str) -> int:
    """Return how many letters `text` has when ligatures and syllables are taken apart: "ﻼ" has two."""
    return sum(unicodedata.category(c) in ("Lu", "Ll", "Lo") for c in unicodedata.normalize("NFKD", text))
