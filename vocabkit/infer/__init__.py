"""Let a model write, serve it, hold it in few bits, give it to other programs; torch is imported when first used."""
