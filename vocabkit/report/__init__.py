"""What to tell a user: whether to extend, and what an extension brought."""
