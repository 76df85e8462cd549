"""The Triton kernels.  A module here is imported only where Triton runs; nothing else imports triton."""
