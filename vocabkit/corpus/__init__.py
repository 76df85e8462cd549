"""Read text in any format, and count the spans that new tokens are learned from."""

from vocabkit.corpus.corpus import Corpus, open_corpus
from vocabkit.corpus.count import SpanCounts, count_spans
from vocabkit.corpus.problems import Problem, Problems
from vocabkit.corpus.text import Text

__all__ = ["Corpus", "Problem", "Problems", "SpanCounts", "Text", "count_spans", "open_corpus"]
