"""Routing weights of an expert that has pictures and no Gaussians: the same three, made from the pictures themselves.

Nothing is learned about a camera, a frame or a place in the image: what is learned holds at held-out cameras, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from moegs_rasterizer import Splat
from torch import Tensor, nn

from experts.pictures import splat_of
from router.cues import IMAGE_CUES, image_cues

INPUTS = ("one", "red", "green", "blue", *IMAGE_CUES)  # of a pixel, in this order
GREY = 0.5  # the colour that counts as 0


class PictureFeatures(nn.Module):
    """A linear map from a pixel's INPUTS to its routing weights; it starts with the same ones at all pixels.

    They are those that a surface of new Gaussians shows: base and directional `init`, temporal 0.
    """

    def __init__(self, init: float = 0.9) -> None:
        super().__init__()
        weight = torch.zeros(3, len(INPUTS))
        weight[:2, INPUTS.index("one")] = init
        self.weight = nn.Parameter(weight)

    def forward(self, inputs: Tensor, time: float) -> Tensor:
        """Routing weights [3, h, w] = (base, directional, time * temporal) of inputs [7, h, w] at a normalised time."""
        base, directional, temporal = torch.einsum("ci,ihw->chw", self.weight, inputs).unbind(0)
        return torch.stack([base, directional, time * temporal])


def inputs_of(images: Tensor) -> Tensor:
    """INPUTS [E, 7, h, w] of the pixels of all experts' images [E, 3, h, w], constants."""
    images = images.detach()
    return torch.cat([torch.ones_like(images[:, :1]), images - GREY, image_cues(images)], dim=1)


def with_pictures(
    splats: Sequence[Splat | None], images: Tensor, features: Mapping[int, nn.Module], *, time: float
) -> list[Splat]:
    """The splats of all experts, given None for those that have pictures. images [E, 3, h, w]: of all experts.

    features: PictureFeatures of those that have pictures, by their number.
    """
    inputs = inputs_of(images) if features else None
    shown = []
    for index, splat in enumerate(splats):
        if splat is None:
            assert inputs is not None, "an expert of pictures has features"
            splat = splat_of(images[index], features=features[index](inputs[index], time))
        shown.append(splat)
    return shown
