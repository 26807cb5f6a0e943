"""Parts of the backward pass that several back-ends need."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from .types import Layer, RasterizerError

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


def with_checked_gradients(layer: Layer, name: str) -> Layer:
    """The layer, whose backward pass raises RasterizerError where a gradient of its tensors is NaN or infinite.

    Gradients of images near float32's largest number, 3.4e38, give such ones.
    """

    def checked(value: Tensor | None, field: str) -> Tensor | None:
        if value is None or not value.requires_grad:
            return value
        value = value.view_as(value)  # the caller's own tensor keeps no hook
        value.register_hook(functools.partial(_check_gradient, f"{name}: the gradient of {field}"))
        return value

    given = layer.gaussians
    inner: dict[str, Any] = {one.name: checked(getattr(given, one.name), one.name) for one in fields(given)}
    own: dict[str, Any] = {field: checked(getattr(layer, field), field) for field in ("features", "background")}
    return replace(layer, gaussians=replace(given, **inner), **own)


def _check_gradient(name: str, gradient: Tensor | None) -> None:
    if gradient is None:  # PyTorch calls hooks of gradients that there are not
        return
    # One sum settles nearly every case; a sum that overflows although its terms are finite goes on to the full test.
    if not math.isfinite(float(gradient.sum())) and not bool(gradient.isfinite().all()):
        raise RasterizerError(f"{name} has NaN or infinite values; look at the loss, or scale it down")
