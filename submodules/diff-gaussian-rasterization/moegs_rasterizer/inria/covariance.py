"""Gaussians given by their covariances, for a rasterizer that takes scales and quaternions.

An image depends on a covariance S only through its 2D one, C = T S T' + low_pass I, with T the Jacobian of the pixel
position. So each Gaussian gets a *stand-in*: another one at the same mean, whose own 2D covariance is C, rasterized
without a low-pass. S's own eigenvectors would give the same image, but where two eigenvalues are equal, gradients of
scales and rotation do not determine the gradient of S. Those of the stand-in's three scales always do:

    C = L L',  L' (T T')^-1 L = diag(b1, b2),  b1 >= b2,  c = sqrt(b1 / 2 - b2 / 6)
    a1, a2, n orthonormal:  T+ L = [a1 sqrt(b1), a2 sqrt(b2)],  T n = 0

                          | sqrt(b1/2)   sqrt(b1/2)   0           |
    axes = [a1  a2  n]    | sqrt(b2/6)  -sqrt(b2/6)   sqrt(2 b2/3)|
                          | c           -c           -b2 / (3 c)  |

    T axes = L Q,  Q =    | sqrt(1/2)    sqrt(1/2)    0           |
                          | sqrt(1/6)   -sqrt(1/6)    sqrt(2/3)   |

The axes (columns) are orthogonal, and Q's columns point 60 degrees apart. With G the loss's gradient by C, that of
scale k, times half the scale, is q_k' (L' G L) q_k: three equations for three unknowns, equally well posed for all C.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..reference.projection import in_view, pixel_jacobian, rotations, view_points
from ..types import Camera, RasterizerError, RasterSettings


def stand_ins(means: Tensor, covariances: Tensor, camera: Camera, settings: RasterSettings) -> tuple[Tensor, Tensor]:
    """Scales [n, 3] and quaternions [n, 4] to rasterize with a low-pass of 0; settings hold the low-pass to count in.

    covariances: [n, 6] in world units squared: xx, xy, xz, yy, yz, zz.

    Back through the scales come the exact gradients of covariances, and what means gain by theirs; what reaches means
    otherwise, the rasterizer adds. Raises RasterizerError for a wrong shape, and on the CPU for values that are NaN,
    infinite or negative on the diagonal; on a GPU these give NaN scales, which the rasterizer refuses.
    """
    if covariances.shape != (len(means), 6):
        raise RasterizerError(f"cov3D_precomp has shape {list(covariances.shape)}, expected [{len(means)}, 6]")
    scales, quats = _StandIn.apply(means, covariances, camera, settings)
    if scales.device.type == "cpu":
        _check(scales, covariances)
    return scales, quats


class _StandIn(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, means: Tensor, covariances: Tensor, camera: Camera, settings: RasterSettings
    ) -> tuple[Tensor, Tensor]:
        points = _in_front(means, camera, settings)
        camera = replace(camera, world_to_camera=camera.world_to_camera.to(points))  # so that backward need not wait
        jacobian = pixel_jacobian(view_points(points, camera), camera)
        world = _symmetric(covariances.double())
        flat = jacobian @ world @ jacobian.transpose(1, 2)
        gram = _inverse(jacobian @ jacobian.transpose(1, 2))
        root = _root(flat, gram, settings.low_pass)
        frame = jacobian.transpose(1, 2) @ gram @ root
        lengths, directions = _axes(frame)
        wrong = (world.diagonal(dim1=1, dim2=2) < 0).any(1, keepdim=True)
        scales, quats = lengths.to(means.dtype).masked_fill(wrong, math.nan), _quaternions(directions).to(means.dtype)
        ctx.save_for_backward(points, covariances, scales, quats, root)
        ctx.camera = camera
        ctx.mark_non_differentiable(quats)
        return scales, quats

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_scales: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        points, covariances, scales, quats, root = ctx.saved_tensors
        by_flat = _by_flat(scales.double() * by_scales.double() / 2, root)
        shape = rotations(quats.double()) * scales.double().unsqueeze(1)
        with torch.enable_grad():
            points, given = (tensor.detach().double().requires_grad_() for tensor in (points, covariances))
            jacobian = pixel_jacobian(view_points(points, ctx.camera), ctx.camera)
            # The rasterizer moves the Jacobian under the stand-in; it should have under the Gaussian itself.
            difference = _symmetric(given) - shape @ shape.transpose(1, 2)
            flat = jacobian @ difference @ jacobian.transpose(1, 2)
            by_means, by_given = torch.autograd.grad(flat, (points, given), by_flat)
        return by_means.to(scales.dtype), by_given.to(covariances.dtype), None, None


def _in_front(means: Tensor, camera: Camera, settings: RasterSettings) -> Tensor:
    """Means in float64; those that will be culled move to where every formula is finite, and get no gradient there."""
    means = means.detach().double()
    matrix = camera.camera_to_world
    ahead = matrix[:3, :3] @ matrix.new_tensor([0, 0, settings.near + 1]) + matrix[:3, 3]
    seen = in_view(view_points(means, camera), camera, settings)
    return torch.where(seen.unsqueeze(1), means, ahead.to(means))


def _symmetric(six: Tensor) -> Tensor:
    xx, xy, xz, yy, yz, zz = six.unbind(1)
    return torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], dim=1).reshape(-1, 3, 3)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of [n, 2, 2]; written out, because a GPU's solver would wait for errors."""
    a, b, c, d = matrix.reshape(-1, 4).unbind(1)
    adjugate = torch.stack([d, -b, -c, a], dim=1) / (a * d - b * c).unsqueeze(1)
    return adjugate.reshape(-1, 2, 2)


def _root(flat: Tensor, gram: Tensor, low_pass: float) -> Tensor:
    """L [n, 2, 2] with L L' = flat + low_pass I and L' gram L diagonal, its larger entry first."""
    xx, xy, _, yy = flat.reshape(-1, 4).unbind(1)
    # Where rounding made a flat covariance indefinite, these pivots are held at the least that a true one has.
    xx = (xx + low_pass).clamp_min(low_pass)
    rest = (yy + low_pass - xy * xy / xx).clamp_min(low_pass)
    low = xx.sqrt()
    triangle = torch.stack([low, torch.zeros_like(low), xy / low, rest.sqrt()], dim=1).reshape(-1, 2, 2)
    p, q, _, r = (triangle.transpose(1, 2) @ gram @ triangle).reshape(-1, 4).unbind(1)
    angle = torch.atan2(2 * q, p - r) / 2
    cos, sin = angle.cos(), angle.sin()
    return triangle @ torch.stack([cos, -sin, sin, cos], dim=1).reshape(-1, 2, 2)


def _axes(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths [n, 3] and directions (columns of [n, 3, 3]) of the stand-in's axes; frame [n, 3, 2] is T+ L."""
    b1, b2 = frame.square().sum(1).unbind(1)
    first, second = (frame / frame.norm(dim=1, keepdim=True)).unbind(2)
    basis = torch.stack([first, second, torch.linalg.cross(first, second)], dim=2)
    wide, high, deep = (b1 / 2).sqrt(), (b2 / 6).sqrt(), (b1 / 2 - b2 / 6).sqrt()
    rows = [wide, wide, torch.zeros_like(b1), high, -high, 2 * high, deep, -deep, -b2 / (3 * deep)]
    local = torch.stack(rows, dim=1).reshape(-1, 3, 3)
    scales = local.norm(dim=1)
    return scales, basis @ (local / scales.unsqueeze(1))


def _quaternions(turned: Tensor) -> Tensor:
    """Unit quaternions wxyz [n, 4] of rotation matrices [n, 3, 3]: the largest row of 4 q q', normalised."""
    a, b, c, d, e, f, g, h, i = turned.reshape(-1, 9).unbind(1)
    rows = [
        torch.stack([1 + a + e + i, h - f, c - g, d - b], dim=1),
        torch.stack([h - f, 1 + a - e - i, b + d, c + g], dim=1),
        torch.stack([c - g, b + d, 1 - a + e - i, f + h], dim=1),
        torch.stack([d - b, c + g, f + h, 1 - a - e + i], dim=1),
    ]
    products = torch.stack(rows, dim=1)
    largest = products.diagonal(dim1=1, dim2=2).argmax(1)
    row = products.gather(1, largest.reshape(-1, 1, 1).expand(-1, 1, 4)).squeeze(1)
    return torch.nn.functional.normalize(row, dim=1)


def _by_flat(halves: Tensor, root: Tensor) -> Tensor:
    """Gradient [n, 2, 2] of the 2D covariance from the scales' times half the scales [n, 3]."""
    first, second, third = halves.unbind(1)
    xx, xy, yy = first + second - third / 2, (first - second) * (math.sqrt(3) / 2), third * 1.5
    white = torch.stack([xx, xy, xy, yy], dim=1).reshape(-1, 2, 2)
    inverse = _inverse(root)
    return inverse.transpose(1, 2) @ white @ inverse


def _check(scales: Tensor, covariances: Tensor) -> None:
    broken = scales.isfinite().all(1).logical_not()
    if not bool(broken.any()):
        return
    row = int(broken.nonzero()[0])
    raise RasterizerError(
        f"cov3D_precomp is no covariance in {int(broken.sum())} rows, first at row {row}: "
        f"{covariances[row].tolist()}; give finite xx, xy, xz, yy, yz, zz with xx, yy and zz not below 0"
    )
