"""What is wrong with an extended model: the known failures, with evidence.  No torch."""
