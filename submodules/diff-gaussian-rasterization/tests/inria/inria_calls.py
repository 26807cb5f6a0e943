"""Calls of the original rasterizer's interface, made of this package's layers and cameras."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from moegs_rasterizer import Camera, Gaussians, Layer
from moegs_rasterizer.inria import GaussianRasterizationSettings, GaussianRasterizer
from moegs_rasterizer.reference.projection import rotations
from torch import Tensor

from ..backends import on, require


@dataclass(frozen=True)
class InriaResult:
    """Image and radii of a call, on the CPU, and the screen-space points, whose gradient backward() fills."""

    colour: Tensor
    radii: Tensor
    screen: Tensor


def settings_of(camera: Camera, background: Tensor, **changes: object) -> GaussianRasterizationSettings:
    """As 3DGS's training code makes them: transposed matrices, the projection with a near and a far plane."""
    view = camera.world_to_camera.to(background)
    projection = torch.tensor(
        [
            [2 * camera.fx / camera.width, 0, 2 * camera.cx / camera.width - 1, 0],
            [0, 2 * camera.fy / camera.height, 2 * camera.cy / camera.height - 1, 0],
            [0, 0, 1.0001, -0.010001],
            [0, 0, 1, 0],
        ],
        dtype=torch.float64,
    ).to(background)
    fields: dict[str, object] = {
        "image_height": camera.height,
        "image_width": camera.width,
        "tanfovx": camera.width / (2 * camera.fx),
        "tanfovy": camera.height / (2 * camera.fy),
        "bg": background,
        "scale_modifier": 1.0,
        "viewmatrix": view.T,
        "projmatrix": view.T @ projection.T,
        "sh_degree": 3,
        "campos": camera.centre.to(background),
        "prefiltered": False,
        "debug": False,
    }
    return GaussianRasterizationSettings(**(fields | changes))


def arguments_of(gaussians: Gaussians) -> dict[str, Tensor | None]:
    return {
        "means3D": gaussians.means,
        "means2D": torch.zeros_like(gaussians.means),
        "opacities": gaussians.opacities.unsqueeze(1),
        "shs": gaussians.sh,
        "colors_precomp": gaussians.colours,
        "scales": gaussians.scales,
        "rotations": gaussians.quats,
    }


def covariances_of(gaussians: Gaussians) -> Tensor:
    """World covariances [n, 6]: xx, xy, xz, yy, yz, zz."""
    shape = rotations(gaussians.quats) * gaussians.scales.unsqueeze(1)
    return (shape @ shape.transpose(1, 2))[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]


def call(layer: Layer, camera: Camera, backend: str, *, covariances: bool = False, **changes: object) -> InriaResult:
    """The layer through `GaussianRasterizer` on the back-end's device, its shapes given as covariances if asked."""
    layer = on(require(backend), layer)
    settings = settings_of(camera, layer.background, **changes)
    arguments = arguments_of(layer.gaussians)
    if covariances:
        arguments |= {"scales": None, "rotations": None, "cov3D_precomp": covariances_of(layer.gaussians)}
    screen = torch.zeros_like(layer.gaussians.means, requires_grad=True) + 0
    screen.retain_grad()
    colour, radii = GaussianRasterizer(settings, backend=backend)(**(arguments | {"means2D": screen}))
    return InriaResult(colour.cpu(), radii.cpu(), screen)


def inria_gradients(made: InriaResult, leaf: dict[str, Tensor], grad_out: Tensor) -> dict[str, Tensor]:
    """After backward(grad_out): the leaves' gradients and the first two columns of the screen's, in float64."""
    made.colour.backward(grad_out.to(made.colour.dtype))
    by_leaf = {name: tensor.grad.double() for name, tensor in leaf.items()}
    return by_leaf | {"means2d": made.screen.grad[:, :2].cpu().double()}
