"""Parts of the backward pass that both compiled back-ends need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ABSENT = torch.empty(0)  # stands for a gradient that there is not; nobody writes to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Flags for the inputs of a layer's blending that want gradients."""

    means2d: bool
    conics: bool
    colours: bool
    features: bool
    background: bool

    @property
    def any(self) -> bool:
        """True where some input wants a gradient."""
        return self.shape or self.colours or self.features or self.background

    @property
    def shape(self) -> bool:
        """True where the 2D Gaussians themselves want a gradient, not only the channels they carry."""
        return self.means2d or self.conics

    @property
    def linear(self) -> bool:
        """True where only features and background want gradients: the images are linear in them."""
        return not (self.shape or self.colours)

    def constant(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Those of a layer's images (colour, features, alpha, depth) that depend on no input that wants a gradient."""
        colour, features, alpha, depth = images
        if self.shape:
            return [depth]
        constant = [alpha, depth]
        if not (self.colours or self.background):
            constant.append(colour)
        if not (self.features or self.background):
            constant.append(features)
        return constant


def background_gradient(left: Tensor, images: Sequence[Tensor], given: Sequence[Tensor | None]) -> Tensor:
    """Sum over pixels of the gradients of colour and features times the remaining transmittance [k + c]."""
    left = left.reshape(images[0].shape[1:])
    # Sums of rows, then of the rows' sums: a matrix product may give other bits with other threads.
    parts = [
        left.new_zeros(image.shape[0]) if gradient is None else (gradient * left).sum(2).sum(1)
        for image, gradient in zip(images, given, strict=True)
    ]
    return torch.cat(parts)


def present(gradient: Tensor | None) -> Tensor:
    """The gradient as the operators take it: contiguous, empty where there is none."""
    return ABSENT if gradient is None else gradient.contiguous()
