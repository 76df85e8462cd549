"""Read the word lists of the package wordfreq: `wordfreq:zh`."""

from __future__ import annotations

from collections.abc import Iterator

from vocabkit.corpus.text import Text
from vocabkit.errors import UnknownNameError, VocabkitError

# Counts per billion words; the rarest word of the large lists has 10.
WORDS = 1_000_000_000
# Languages with a list whose words stand beside each other without a space.
WITHOUT_SPACES = ("ja", "zh")


def read_wordfreq(code: str, field: str = "") -> Iterator[Text]:
    """Yield the words of wordfreq's best list for a language, weighted by their occurrences per billion words.

    Each has the space before it with which it stands in a text: tokens are learned with it.
    field: not used, a word list has none; readers are offered it.
    Raises UnknownNameError for a language without a list.
    """
    try:
        import wordfreq
    except ImportError as error:
        raise VocabkitError(f"wordfreq:{code} needs wordfreq; pip install 'vocabkit[starter]'") from error

    # wordfreq itself would take the nearest language instead, with a log message.
    languages = wordfreq.available_languages("best")
    if code not in languages:
        raise UnknownNameError("language of wordfreq", code, languages)
    before = "" if code in WITHOUT_SPACES else " "
    for word, frequency in wordfreq.get_frequency_dict(code, "best").items():
        # Not at the start of a document: a word of a list may stand anywhere in a text.
        yield Text(before + word, weight=max(1, round(frequency * WORDS)), starts=False)
