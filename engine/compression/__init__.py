"""Smaller runs: pruned mixtures."""
