"""Pages and cards that show what an extension brought."""
