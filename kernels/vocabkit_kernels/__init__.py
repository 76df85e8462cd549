"""GPU kernels for vocabkit, and the plain PyTorch they are checked against."""
