"""What to tell a user who decides: costs, advice."""
