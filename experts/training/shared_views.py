"""An iteration's images on several ranks: each renders its share, and all take in what density control learns of all.

So every rank adds and removes the same Gaussians, and models stay equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common import ranks
from common.collectives import add_up, handed_out
from experts.training.rendered import RenderedView, in_ndc
from experts.training.samplers import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSplat:
    """The parts of a Splat that ranks share."""

    radii: Tensor  # [n]
    alpha: Tensor | None  # [h, w], where images are shared
    depth: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedGaussians:
    """The parts of Gaussians that ranks share."""

    opacities: Tensor  # [n]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFeatures:
    """The gradients of features carried to the pixels."""

    grad: Tensor  # [n, c]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedView:
    """Stands for a RenderedView after the pass back, with what `observe` looks at."""

    sample: Sample
    camera: Camera
    gradients: Tensor  # [n, 2] of the means on the screen
    splat: SharedSplat
    gaussians: SharedGaussians
    features: SharedFeatures | None
    image: Tensor | None  # [3, h, w], where images are shared
    target: Tensor | None

    def screen_gradients(self, *, of: int = 1) -> Tensor:
        """As RenderedView has them."""
        return in_ndc(self.gradients, self.camera, of=of)


def on_all_ranks(
    own: Sequence[RenderedView], samples: Sequence[Sample], cameras: Sequence[Camera], *, with_images: bool
) -> Sequence[Any]:
    """The images of an iteration in order, on all ranks, from this rank's, each handed out by the rank that has it.

    SharedViews, which stand for RenderedViews; in a process alone these themselves. samples: of all ranks, which they
    share as `ranks.share` does. with_images: with pixels, alphas and depths too.
    """
    if ranks.count() == 1:
        return own
    mine, like = iter(own), own[0]
    shared = []
    for number, sample in enumerate(samples):
        source, camera = number % ranks.count(), cameras[sample.view]
        view = next(mine) if source == ranks.rank() else None
        parts = _empty(like, camera, with_images) if view is None else _parts(view, with_images)
        handed_out(list(parts.values()), source=source)
        shared.append(_shared(parts, sample, camera))
    return shared


def _parts(view: RenderedView, with_images: bool) -> dict[str, Tensor]:
    """The numbers of a rank's own image, all float32."""
    gradients, splat = view.splat.means2d.grad, view.splat
    parts = {
        "gradients": torch.zeros_like(splat.means2d) if gradients is None else gradients,
        "radii": splat.radii.float(),
        "opacities": view.gaussians.opacities.detach(),
    }
    if view.features is not None:
        sums = view.features.grad
        parts["sums"] = torch.zeros_like(view.features) if sums is None else sums
    if with_images:
        parts |= {"image": view.image.detach(), "target": view.target}
        parts |= {"alpha": splat.alpha.detach(), "depth": splat.depth}
    return parts


def _empty(like: RenderedView, camera: Camera, with_images: bool) -> dict[str, Tensor]:
    """Room for another rank's image of the same model."""
    size = (camera.height, camera.width)
    parts = {name: torch.empty_like(values) for name, values in _parts(like, with_images=False).items()}
    if with_images:
        sizes = {"image": (3, *size), "target": (3, *size), "alpha": size, "depth": size}
        parts |= {name: like.image.new_empty(shape) for name, shape in sizes.items()}
    return parts


def _shared(parts: dict[str, Tensor], sample: Sample, camera: Camera) -> SharedView:
    return SharedView(
        sample=sample,
        camera=camera,
        gradients=parts["gradients"],
        splat=SharedSplat(radii=parts["radii"].int(), alpha=parts.get("alpha"), depth=parts.get("depth")),
        gaussians=SharedGaussians(opacities=parts["opacities"]),
        features=SharedFeatures(grad=parts["sums"]) if "sums" in parts else None,
        image=parts.get("image"),
        target=parts.get("target"),
    )


def of_all_images(own: Sequence[Tensor], count: int) -> Iterator[Tensor]:
    """A number [] of each of an iteration's `count` images in order, from those of this rank's images."""
    if ranks.count() == 1:
        return iter(own)
    values = own[0].new_zeros(count)
    values[ranks.rank() :: ranks.count()] = torch.stack(list(own))
    add_up([values])
    return iter(values)


def numbers_of_all(loss: Tensor, psnr: Tensor, count: int) -> tuple[float, float]:
    """The loss of an iteration of `count` images, from the ranks' parts, and the PSNR of its last image."""
    numbers = torch.stack([loss, psnr])
    add_up([numbers[:1]])
    handed_out([numbers[1:]], source=(count - 1) % ranks.count())
    total, last = numbers.tolist()
    return total, last
