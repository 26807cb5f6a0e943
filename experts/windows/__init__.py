"""Experts of a long clip: a model for each window of its frames, which overlap and fade into each other."""
