"""Teach a language model's tokenizer a new language, and prove that nothing else broke.

A language plugin needs `Language` and `hookimpl`; `check_language` is its test suite; `LATIN` are the letters of
English and of languages that share them.
"""

from vocabkit.errors import VocabkitError
from vocabkit.hookspecs import hookimpl
from vocabkit.language import LATIN, Language, check_language

__all__ = ["LATIN", "Language", "VocabkitError", "check_language", "hookimpl"]
__version__ = "0.1.0"
