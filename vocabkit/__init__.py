"""Teach a language model's tokenizer a new language, and prove that nothing else broke.

A language plugin needs `Language` and `hookimpl`; `check_language` is its test suite.
"""

from vocabkit.errors import VocabkitError
from vocabkit.hookspecs import hookimpl
from vocabkit.language import Language, check_language

__all__ = ["Language", "VocabkitError", "check_language", "hookimpl"]
__version__ = "0.1.0"
