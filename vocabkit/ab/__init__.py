"""The same training with and without an extension: what it brings, and how sure that is."""
