"""Training images as they were rendered, and small helpers for sums and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, Splat, rasterize
from moegs_rasterizer.types import Backend
from torch import Tensor, nn

from common.maths.tensors import constant
from experts.base import Expert
from experts.training.colour_correction import ColourCorrection
from experts.training.generalisation.dropout import Dropout
from experts.training.samplers import Sample
from experts.training.views import TrainingViews

_LEAST_ALPHA = 1e-3  # below, a mean depth is a smaller one


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
    depth: Tensor | None = None  # [h, w] mean depth, which has gradients, unlike the splat's; None: not asked for

    def screen_gradients(self, *, of: int = 1) -> Tensor:
        """Gradients [n, 2] of the means on the screen in NDC units, times the number of images `of` in the loss."""
        gradients = self.splat.means2d.grad
        if gradients is None:
            return torch.zeros_like(self.splat.means2d)
        return in_ndc(gradients, self.camera, of=of)

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
    dropout: Dropout | None = None,
    with_depth: bool = False,
) -> RenderedView:
    """Renders the model's Gaussians of a moment from a training camera, ready for gradients of everything.

    dropout: Gaussians that this image lacks; they count as not shown.
    """
    camera = views.cameras[sample.view]
    shown = gaussians if dropout is None else dropout.apply(gaussians)
    carried = _and_depths(features, gaussians.means, camera) if with_depth else features
    if carried is not None:
        background = torch.cat([background, carried.new_zeros(carried.shape[1])])
    layer = Layer(gaussians=shown, settings=model.settings, background=background, features=carried)
    splat = rasterize([layer], camera, grad="full", backend=backend, deterministic=True)[0]
    splat.means2d.retain_grad()
    depth = None
    if with_depth:
        assert splat.features is not None
        depth = splat.features[-1] / splat.alpha.clamp_min(_LEAST_ALPHA)
        splat = replace(splat, features=None if features is None else splat.features[:-1])
    if dropout is not None:
        splat = replace(splat, radii=splat.radii * dropout.kept)
    image = model.colour(splat, camera, frame=sample.frame)
    return RenderedView(
        sample=sample,
        camera=camera,
        gaussians=gaussians,
        splat=splat,
        features=features,
        image=image if correction is None else correction(image, sample.view),
        target=views.image(sample),
        depth=depth,
    )


def in_ndc(gradients: Tensor, camera: Camera, *, of: int) -> Tensor:
    """Gradients [n, 2] by pixels as those by NDC units, times the number of images `of` in the loss."""
    half = (0.5 * of * camera.width, 0.5 * of * camera.height)
    return gradients * constant(half, gradients.dtype, gradients.device)


def _and_depths(features: Tensor | None, means: Tensor, camera: Camera) -> Tensor:
    """Features [n, c] with the depths of means [n, 3] as one more."""
    axis = constant(tuple(camera.world_to_camera[2].tolist()), means.dtype, means.device)  # the camera's third
    depths = (means @ axis[:3] + axis[3])[:, None]
    return depths if features is None else torch.cat([features, depths], dim=1)


def added(terms: Sequence[Tensor]) -> Tensor:
    """The sum of one tensor or more, in as few launches as it takes."""
    return sum(terms[1:], start=terms[0])


def cut_harmonics(gaussians: Gaussians, degree: int) -> Gaussians:
    """Gaussians whose spherical harmonics end at a degree."""
    if gaussians.sh is None or gaussians.sh.shape[1] <= (degree + 1) ** 2:
        return gaussians
    return replace(gaussians, sh=gaussians.sh[:, : (degree + 1) ** 2])


@torch.no_grad()
def mute_harmonics(layer: nn.Module, *, above: int) -> None:
    """Lets a linear layer, whose outputs are added to harmonics coefficient by coefficient, add 0 above a degree.

    It goes on so: where images do not show the coefficients, its rows get gradients of 0.
    """
    assert isinstance(layer, nn.Linear)
    rows = 3 * (above + 1) ** 2
    layer.weight[rows:] = 0
    layer.bias[rows:] = 0
