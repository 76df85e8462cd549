"""Measure tokenizers on text."""
