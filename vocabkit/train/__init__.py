"""Train new rows and adapters on text, and fuse them; needs torch and transformers, imported when first used."""
