"""The PyTorch back-end: readable, float32 or float64; the compiled back-ends are checked against it."""

from .oracle import rasterize_layers

__all__ = ["rasterize_layers"]
