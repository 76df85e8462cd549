"""`wordfreq:CODE`: the words of a language with their frequencies, from the package wordfreq."""

from __future__ import annotations

from collections.abc import Iterator

from vocabkit.corpus.text import Text
from vocabkit.errors import UnknownNameError, VocabkitError

# Frequencies become counts per thousand million words.
SCALE = 10**9


def read_wordfreq(code: str) -> Iterator[Text]:
    """Yield every word of the language's largest list, weighted by its frequency."""
    try:
        import wordfreq
    except ImportError:
        raise VocabkitError("wordfreq is not installed; run `pip install 'vocabkit[starter]'`") from None
    known = wordfreq.available_languages("best")
    if code not in known:
        raise UnknownNameError("wordfreq language", code, known)
    for word, frequency in wordfreq.get_frequency_dict(code, "best").items():
        yield Text(word, weight=max(1, round(frequency * SCALE)), starts=False)
