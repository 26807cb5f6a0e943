"""Rasterizer for several layers of 3D Gaussians in one call: colour and any extra channels, by CUDA, C++ or PyTorch."""

from typing import TYPE_CHECKING, Any

from .types import Camera, Gaussians, Layer, RasterizerError, RasterSettings, RawGaussians, RawLayer, Splat

if TYPE_CHECKING:  # `__getattr__` imports them when they are asked for: they need PyTorch, which takes a second
    from .api import rasterize
    from .rays import camera_rays

__all__ = [
    "Camera",
    "Gaussians",
    "Layer",
    "RasterSettings",
    "RasterizerError",
    "RawGaussians",
    "RawLayer",
    "Splat",
    "camera_rays",
    "rasterize",
]


def __getattr__(name: str) -> Any:
    if name == "rasterize":
        from .api import rasterize

        return rasterize
    if name == "camera_rays":
        from .rays import camera_rays

        return camera_rays
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
