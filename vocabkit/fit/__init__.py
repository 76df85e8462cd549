"""Fit weights on text; needs torch and transformers, imported when first used."""
