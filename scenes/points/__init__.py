"""Coloured points in space: files, clouds, and the start points of a training."""
