"""The rows of a model's vocabulary: read from a checkpoint, made for new tokens, written back.  No torch."""
