"""Interestingness functions: features of planes in, numbers in [0, 1] out."""
