"""The CUDA back-end: float32 on an NVIDIA GPU, every layer of a call in one pass; compiled on first use."""

from .backend import rasterize_layers
from .captured import CapturedCall
from .loading import library, unavailable_reason
from .reports import captured_calls, check

__all__ = ["CapturedCall", "captured_calls", "check", "library", "rasterize_layers", "unavailable_reason"]
