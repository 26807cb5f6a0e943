"""Training images as they were rendered, and small helpers for sums and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, Splat, rasterize
from moegs_rasterizer.types import Backend
from torch import Tensor

from common.tensors import constant
from experts.base import Expert
from experts.training.colour_correction import ColourCorrection
from experts.training.samplers import Sample
from experts.training.views import TrainingViews


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedView:
    """A training image as it was rendered, beside the recorded one."""

    sample: Sample
    camera: Camera
    gaussians: Gaussians
    splat: Splat
    features: Tensor | None  # [n, c] carried beside the colours
    image: Tensor  # [3, h, w] as the loss sees it
    target: Tensor  # [3, h, w]

    def screen_gradients(self, *, of: int = 1) -> Tensor:
        """Gradients [n, 2] of the means on the screen in NDC units, times the number of images `of` in the loss."""
        gradients = self.splat.means2d.grad
        if gradients is None:
            return torch.zeros_like(self.splat.means2d)
        half = (0.5 * of * self.camera.width, 0.5 * of * self.camera.height)
        return gradients * constant(half, gradients.dtype, gradients.device)

    @property
    def psnr(self) -> Tensor:
        """PSNR [] of the clamped image, dB."""
        return -10 * (self.image.detach().clamp(0, 1) - self.target).square().mean().log10()


def render(
    model: Expert,
    gaussians: Gaussians,
    sample: Sample,
    views: TrainingViews,
    *,
    features: Tensor | None,
    background: Tensor,
    backend: Backend,
    correction: ColourCorrection | None,
) -> RenderedView:
    """Renders the model's Gaussians of a moment from a training camera, ready for gradients of everything."""
    if features is not None:
        background = torch.cat([background, features.new_zeros(features.shape[1])])
    camera = views.cameras[sample.view]
    layer = Layer(gaussians=gaussians, settings=model.settings, background=background, features=features)
    splat = rasterize([layer], camera, grad="full", backend=backend, deterministic=True)[0]
    splat.means2d.retain_grad()
    image = model.colour(splat, camera, frame=sample.frame)
    return RenderedView(
        sample=sample,
        camera=camera,
        gaussians=gaussians,
        splat=splat,
        features=features,
        image=image if correction is None else correction(image, sample.view),
        target=views.image(sample),
    )


def added(terms: Sequence[Tensor]) -> Tensor:
    """The sum of one tensor or more, in as few launches as it takes."""
    return sum(terms[1:], start=terms[0])


def cut_harmonics(gaussians: Gaussians, degree: int) -> Gaussians:
    """Gaussians whose spherical harmonics end at a degree."""
    if gaussians.sh is None or gaussians.sh.shape[1] <= (degree + 1) ** 2:
        return gaussians
    return replace(gaussians, sh=gaussians.sh[:, : (degree + 1) ** 2])
