"""Projects 3D Gaussians to 2D ones: pixel position, covariance, conic, effective opacity (EWA splatting as in 3DGS)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..types import Camera, Gaussians, RasterSettings

JACOBIAN_LIMIT = 1.3  # times the tangent of half the field of view
LARGEST_RADIUS = 2**31 - 128  # largest int32 that float32 holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """2D Gaussians of m rows of a layer. Covariances and determinants are float64, the others of the layer's type."""

    means2d: Tensor  # [m, 2] pixels, first pixel's centre at (0, 0)
    depths: Tensor  # [m] camera z
    covariances: Tensor  # [m, 3] xx, xy, yy in px^2, low-pass added
    determinants: Tensor  # [m] of the covariances, px^4
    conics: Tensor  # [m, 3] xx, xy, yy of the inverse covariances
    opacities: Tensor  # [m] effective: compensation multiplied in


def view_points(means: Tensor, camera: Camera) -> Tensor:
    """Means [n, 3] in camera coordinates; written out so that equal means get equal bits whatever their rows."""
    matrix = camera.world_to_camera.detach().to(means)
    x, y, z = means.unbind(1)
    rows = [matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] * z + matrix[i, 3] for i in range(3)]
    return torch.stack(rows, dim=1)


def in_view(points: Tensor, camera: Camera, settings: RasterSettings) -> Tensor:
    """Mask [n] of camera points [n, 3] between near (exclusive) and far (inclusive), and within ndc_limit if given."""
    z = points[:, 2]
    mask = z > settings.near
    if settings.far is not None:
        mask &= z <= settings.far
    if settings.ndc_limit is not None:
        mask &= (_ndc(points, camera).abs() <= settings.ndc_limit).all(1)
    return mask


def project(gaussians: Gaussians, camera: Camera, settings: RasterSettings) -> Projection:
    """Project Gaussians that are in front of the camera; differentiable in means, scales, quats and opacities.

    Computed in float64, as the compiled back-ends do: the determinant of a Gaussian of 1e9 units overflows in float32.
    """
    dtype = gaussians.means.dtype
    points = view_points(gaussians.means.double(), camera)
    size = points.new_tensor([camera.width, camera.height])
    means2d = ((_ndc(points, camera) + 1) * size - 1) / 2
    shape = rotations(gaussians.quats.double()) * gaussians.scales.double().unsqueeze(1)
    # The covariance is V V^T: its determinant is |v0 x v1|^2 (Lagrange), free of the cancellation in xx yy - xy^2.
    v0, v1 = (pixel_jacobian(points, camera) @ shape).unbind(1)
    xx, xy, yy = (v0 * v0).sum(1), (v0 * v1).sum(1), (v1 * v1).sum(1)
    before = torch.linalg.cross(v0, v1).square().sum(1)
    low_pass = settings.low_pass
    after = before + low_pass * (xx + yy) + low_pass**2
    xx, yy = xx + low_pass, yy + low_pass
    opacities = gaussians.opacities
    if settings.compensate:
        opacities = (opacities * compensation(before, after)).to(dtype)
    return Projection(
        means2d=means2d.to(dtype),
        depths=points[:, 2].to(dtype),
        covariances=torch.stack([xx, xy, yy], dim=1),
        determinants=after,
        conics=(torch.stack([yy, -xy, xx], dim=1) / after.unsqueeze(1)).to(dtype),
        opacities=opacities,
    )


def rotations(quats: Tensor) -> Tensor:
    """Matrices [n, 3, 3] of quaternions wxyz [n, 4] by the quadratic formula, not normalised.

    A quaternion of length p gives (1 - p^2) I + p^2 R(q / p); the zero quaternion gives the identity (as in 3DGS).
    """
    w, x, y, z = quats.unbind(1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    return torch.stack(rows, dim=1)


def compensation(before: Tensor, after: Tensor) -> Tensor:
    """Ex4DGS's opacity factor [n] from the determinants before and after the low-pass; 0 where either is <= 1e-6."""
    kept = (before > 1e-6) & (after > 1e-6)
    ratio = torch.where(kept, before, 1.0) / (torch.where(kept, after, 1.0) + 1e-6)
    return torch.where(kept, torch.sqrt(ratio + 1e-6), 0.0)


def radii_3_sigma(projection: Projection) -> Tensor:
    """3DGS's radius [m] in whole pixels, as floats: ceil(3 sqrt(largest eigenvalue)), with its floor of 0.1."""
    middle = (projection.covariances[:, 0] + projection.covariances[:, 2]) / 2
    spread = (middle * middle - projection.determinants).clamp_min(0.1).sqrt()
    return torch.ceil(3 * (middle + spread).sqrt()).clamp_max(LARGEST_RADIUS)


def _ndc(points: Tensor, camera: Camera) -> Tensor:
    """Normalised device coordinates [n, 2]; 1e-7 is the original kernels' guard against a zero divisor."""
    x, y, z = points.unbind(1)
    ndc_x = 2 * camera.fx / camera.width * x + (2 * camera.cx / camera.width - 1) * z
    ndc_y = 2 * camera.fy / camera.height * y + (2 * camera.cy / camera.height - 1) * z
    return torch.stack([ndc_x, ndc_y], dim=1) * (1 / (z + 1e-7)).unsqueeze(1)


def pixel_jacobian(points: Tensor, camera: Camera) -> Tensor:
    """Derivative [n, 2, 3] of the pixel position by the world position, at a point clamped towards the image (3DGS)."""
    x, y, z = points.unbind(1)
    limit_x = JACOBIAN_LIMIT * camera.width / (2 * camera.fx)
    limit_y = JACOBIAN_LIMIT * camera.height / (2 * camera.fy)
    x_over_z = (x / z).clamp(-limit_x, limit_x)
    y_over_z = (y / z).clamp(-limit_y, limit_y)
    zero = torch.zeros_like(z)
    local = torch.stack(
        [
            torch.stack([camera.fx / z, zero, -camera.fx * x_over_z / z], dim=1),
            torch.stack([zero, camera.fy / z, -camera.fy * y_over_z / z], dim=1),
        ],
        dim=1,
    )
    return local @ camera.world_to_camera[:3, :3].detach().to(points)
