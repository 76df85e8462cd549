"""From "books/", "news.jsonl.zst" or "wordfreq:zh" to counted spans of text."""

from vocabkit.corpus.corpus import Corpus, open_corpus
from vocabkit.corpus.count import SpanCounts, count_spans
from vocabkit.corpus.text import Text

__all__ = ["Corpus", "SpanCounts", "Text", "count_spans", "open_corpus"]
