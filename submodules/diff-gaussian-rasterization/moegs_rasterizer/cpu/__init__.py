"""The C++ back-end: float32 on the CPU, vectorised and threaded; compiled on first use."""

from .backend import rasterize_layers
from .loading import library, unavailable_reason

__all__ = ["library", "rasterize_layers", "unavailable_reason"]
