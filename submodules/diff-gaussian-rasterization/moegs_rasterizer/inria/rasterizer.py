"""The classes and the function of the original 3DGS rasterizer, rasterized by `moegs_rasterizer.rasterize`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..api import rasterize
from ..reference.projection import in_view, view_points
from ..types import Backend, Camera, Gaussians, Layer, RasterizerError, RasterSettings
from .camera import camera_of
from .covariance import stand_ins

CONVENTION = RasterSettings(low_pass=0.3, near=0.2, tile_rule="inria")
LARGEST_DEGREE = 3


class GaussianRasterizationSettings(NamedTuple):
    """One view. Matrices are transposed: they multiply row vectors from the right."""

    image_height: int
    image_width: int
    tanfovx: float
    tanfovy: float
    bg: Tensor  # [k]
    scale_modifier: float  # multiplies scales, not cov3D_precomp
    viewmatrix: Tensor  # [4, 4] world to camera, transposed
    projmatrix: Tensor  # [4, 4] world to clip space, transposed: viewmatrix @ projection.T
    sh_degree: int  # of the coefficients to use; more may be stored
    campos: Tensor  # [3]
    prefiltered: bool  # the caller's promise that nothing will be culled; culling goes on all the same
    debug: bool  # on a GPU: wait for it and report refused values at once, not by the next call
    antialiasing: bool = False  # of newer copies; refused, because its opacity factor is not `compensate`'s


class GaussianRasterizer(torch.nn.Module):
    """Rasterizes Gaussians for one view; `backend` as in `moegs_rasterizer.rasterize`."""

    def __init__(self, raster_settings: GaussianRasterizationSettings, *, backend: Backend = "auto") -> None:
        super().__init__()
        self.raster_settings = raster_settings
        self.backend: Backend = backend

    @torch.no_grad()
    def markVisible(self, positions: Tensor) -> Tensor:
        """Mask [n] of positions [n, 3] beyond the near plane (camera z > 0.2); the sides are not looked at."""
        camera = camera_of(self.raster_settings, uses_campos=False)
        return in_view(view_points(positions, camera), camera, CONVENTION)

    def forward(
        self,
        means3D: Tensor,
        means2D: Tensor,
        opacities: Tensor,
        shs: Tensor | None = None,
        colors_precomp: Tensor | None = None,
        scales: Tensor | None = None,
        rotations: Tensor | None = None,
        cov3D_precomp: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Image [k, h, w] and radii [n], int32 pixels, 0 where culled.

        means3D [n, 3]; means2D [n, 2 or more], whose values do not matter; opacities [n, 1] after the sigmoid; shs
        [n, m, 3] or colors_precomp [n, k]; scales [n, 3] after exp and rotations [n, 4] wxyz, used as given, or
        cov3D_precomp [n, 6] (xx, xy, xz, yy, yz, zz).

        Raises RasterizerError for both or neither of a choice, and for all that `rasterize` refuses.
        """
        given = _Given(
            means3D=means3D,
            means2D=means2D,
            opacities=opacities,
            shs=shs,
            colors_precomp=colors_precomp,
            scales=scales,
            rotations=rotations,
            cov3D_precomp=cov3D_precomp,
        )
        return _rasterized(given, self.raster_settings, self.backend)


def rasterize_gaussians(
    means3D: Tensor,
    means2D: Tensor,
    sh: Tensor,
    colors_precomp: Tensor,
    opacities: Tensor,
    scales: Tensor,
    rotations: Tensor,
    cov3Ds_precomp: Tensor,
    raster_settings: GaussianRasterizationSettings,
) -> tuple[Tensor, Tensor]:
    """`GaussianRasterizer` by the original's function, where an empty tensor stands for one that is not given."""

    def given(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None or tensor.shape == (0,) else tensor

    return GaussianRasterizer(raster_settings)(
        means3D,
        means2D,
        opacities,
        shs=given(sh),
        colors_precomp=given(colors_precomp),
        scales=given(scales),
        rotations=given(rotations),
        cov3D_precomp=given(cov3Ds_precomp),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """The tensors of a call, by the original's names."""

    means3D: Tensor
    means2D: Tensor
    opacities: Tensor
    shs: Tensor | None
    colors_precomp: Tensor | None
    scales: Tensor | None
    rotations: Tensor | None
    cov3D_precomp: Tensor | None


def _rasterized(given: _Given, settings: GaussianRasterizationSettings, backend: Backend) -> tuple[Tensor, Tensor]:
    _check_choices(given, settings)
    camera = camera_of(settings, uses_campos=given.shs is not None)
    tensors = [getattr(given, field.name) for field in fields(given)]
    recorded = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)
    caught: list[Tensor] = []
    if recorded:
        given = replace(given, means3D=_ScreenSpace.apply(given.means3D, given.means2D, caught, camera))
    layer = _layer(given, settings, camera)
    splat = rasterize([layer], camera, grad="full" if recorded else "none", backend=backend)[0]
    if recorded and given.means2D.requires_grad:
        splat.means2d.register_hook(_catcher(caught))
    if settings.debug and splat.colour.is_cuda:
        from ..cuda import check

        check()
    return splat.colour, splat.radii


def _check_choices(given: _Given, settings: GaussianRasterizationSettings) -> None:
    if settings.antialiasing:
        raise RasterizerError(
            "antialiasing is True, but its opacity factor sqrt(max(0.000025, det before / det after)) is none of ours; "
            "pass antialiasing=False, or call moegs_rasterizer.rasterize with RasterSettings(compensate=True) for "
            "Ex4DGS's factor"
        )
    if (given.shs is None) == (given.colors_precomp is None):
        number = "neither" if given.shs is None else "both"
        raise RasterizerError(f"{number} of shs and colors_precomp is given, expected exactly one")


def _layer(given: _Given, settings: GaussianRasterizationSettings, camera: Camera) -> Layer:
    scales, quats, convention = _shapes(given, settings, camera)
    opacities = given.opacities
    gaussians = Gaussians(
        means=given.means3D,
        scales=scales,
        quats=quats,
        opacities=opacities.squeeze(1) if opacities.dim() == 2 and opacities.shape[1] == 1 else opacities,
        sh=None if given.shs is None else _active(given.shs, settings.sh_degree),
        colours=given.colors_precomp,
    )
    return Layer(gaussians=gaussians, settings=convention, background=settings.bg.detach())


def _shapes(
    given: _Given, settings: GaussianRasterizationSettings, camera: Camera
) -> tuple[Tensor, Tensor, RasterSettings]:
    """Scales, quaternions, and the convention they are to be splatted by."""
    scales, quats, covariances = given.scales, given.rotations, given.cov3D_precomp
    if scales is not None and quats is not None and covariances is None:
        return scales * settings.scale_modifier, quats, CONVENTION
    if scales is None and quats is None and covariances is not None:
        scales, quats = stand_ins(given.means3D, covariances, camera, CONVENTION)
        return scales, quats, replace(CONVENTION, low_pass=0.0)  # the stand-ins have it
    names = [name for name in ("scales", "rotations", "cov3D_precomp") if getattr(given, name) is not None]
    raise RasterizerError(
        f"of scales, rotations and cov3D_precomp, found {' and '.join(names) or 'none'}; expected scales and "
        "rotations, or cov3D_precomp alone"
    )


def _active(shs: Tensor, degree: int) -> Tensor:
    """The coefficients of degree 0 to `degree`; the others get a gradient of 0."""
    count = (degree + 1) ** 2
    if not 0 <= degree <= LARGEST_DEGREE:
        raise RasterizerError(f"sh_degree is {degree}, expected 0 to {LARGEST_DEGREE}")
    if shs.dim() != 3 or shs.shape[1] < count:
        raise RasterizerError(
            f"shs has shape {list(shs.shape)}, expected [n, {count} or more, 3] for sh_degree {degree}"
        )
    return shs[:, :count]


class _ScreenSpace(torch.autograd.Function):
    """means3D as they are; on its way back, their gradient brings means2D the one that was caught."""

    @staticmethod
    def forward(ctx: Any, means3D: Tensor, means2D: Tensor, caught: list[Tensor], camera: Camera) -> Tensor:
        if means2D.dim() != 2 or len(means2D) != len(means3D) or means2D.shape[1] < 2:
            raise RasterizerError(
                f"means2D has shape {list(means2D.shape)}, expected [{len(means3D)}, 2 or more], "
                "such as torch.zeros_like(means3D, requires_grad=True)"
            )
        ctx.caught, ctx.half_size = caught, (camera.width / 2, camera.height / 2)
        ctx.shape = means2D.shape
        return means3D.view_as(means3D)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_means3D: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_means2D = by_means3D.new_zeros(ctx.shape)
        if ctx.caught:
            pixels = ctx.caught.pop()
            by_means2D[:, 0] = pixels[:, 0] * ctx.half_size[0]
            by_means2D[:, 1] = pixels[:, 1] * ctx.half_size[1]
        return by_means3D, by_means2D, None, None


def _catcher(caught: list[Tensor]) -> Callable[[Tensor], None]:
    def catch(gradient: Tensor) -> None:
        caught[:] = [gradient]

    return catch
