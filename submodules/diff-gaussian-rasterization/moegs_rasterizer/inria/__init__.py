"""The original 3DGS rasterizer's call (diff-gaussian-rasterization, Kerbl et al.), for code that was written for it.

`GaussianRasterizationSettings`, `GaussianRasterizer` and `rasterize_gaussians` take and return what the original's do:
an image [3, h, w] and radii [n]; after `backward()`, `means2D.grad[:, :2]` holds the screen-space gradient in NDC units
(that of the pixel position times half the image's size).
"""

from .rasterizer import GaussianRasterizationSettings, GaussianRasterizer, rasterize_gaussians

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer", "rasterize_gaussians"]
