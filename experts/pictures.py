"""Experts that have pictures of the scene's cameras in the place of Gaussians."""

from __future__ import annotations

from typing import Protocol, TypeGuard

from moegs_rasterizer import Camera, Splat
from torch import Tensor

from experts.base import Expert


class PictureExpert(Expert, Protocol):
    """An expert without Gaussians: its table has no row, and `at` raises CheckpointError."""

    def find(self, camera: Camera, frame: float) -> tuple[int, int]:
        """The numbers of a camera and a frame with a picture; CheckpointError where there is none."""
        ...

    def picture(self, camera: Camera, frame: float) -> Tensor:
        """RGB [3, h, w] in 0 ... 1 of a camera at a frame; CheckpointError where there is none."""
        ...


def has_pictures(expert: Expert) -> TypeGuard[PictureExpert]:
    """Tell whether an expert has pictures in the place of Gaussians."""
    return hasattr(expert, "picture")


def splat_of(picture: Tensor, *, features: Tensor | None = None) -> Splat:
    """A splat in the place of a rasterized one, of a picture [3, h, w]: opaque, its depth unknown (nan).

    features: routing weights [3, h, w].
    """
    shape = picture.shape[1:]
    return Splat(
        colour=picture,
        features=features,
        alpha=picture.new_ones(shape),
        depth=picture.new_full(shape, float("nan")),
        radii=picture.new_zeros(0).int(),
        means2d=picture.new_zeros(0, 2),
    )
