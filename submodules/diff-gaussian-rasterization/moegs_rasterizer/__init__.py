"""Rasterizer for several layers of 3D Gaussians in one call: colour and any extra channels, by CUDA, C++ or PyTorch."""

from .api import rasterize
from .rays import camera_rays
from .types import Camera, Gaussians, Layer, RasterizerError, RasterSettings, Splat

__all__ = ["Camera", "Gaussians", "Layer", "RasterSettings", "RasterizerError", "Splat", "camera_rays", "rasterize"]
