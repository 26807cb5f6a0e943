"""Tensors, vectors and transforms."""
