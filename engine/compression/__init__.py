"""Smaller runs: pruned and compressed mixtures, and distilled experts."""
