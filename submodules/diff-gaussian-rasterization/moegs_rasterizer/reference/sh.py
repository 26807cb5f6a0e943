"""Real spherical harmonics up to degree 3, in the order and with the signs of 3D Gaussian splatting."""

from __future__ import annotations

import torch
from torch import Tensor

C0 = 0.28209479177387814
C1 = 0.4886025119029199
C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
C3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)


def sh_basis(directions: Tensor, count: int) -> Tensor:
    """Values [n, count] of the first count (1, 4, 9 or 16) harmonics in unit directions [n, 3] (Inria's 3DGS)."""
    x, y, z = directions.unbind(1)
    terms = [torch.full_like(x, C0)]
    if count > 1:
        terms += [-C1 * y, C1 * z, -C1 * x]
    xx, yy, zz = x * x, y * y, z * z
    if count > 4:
        second = (x * y, y * z, 2 * zz - xx - yy, x * z, xx - yy)
        terms += [factor * term for factor, term in zip(C2, second, strict=True)]
    if count > 9:
        third = (
            y * (3 * xx - yy),
            x * y * z,
            y * (4 * zz - xx - yy),
            z * (2 * zz - 3 * xx - 3 * yy),
            x * (4 * zz - xx - yy),
            z * (xx - yy),
            x * (xx - 3 * yy),
        )
        terms += [factor * term for factor, term in zip(C3, third, strict=True)]
    return torch.stack(terms, dim=1)


def sh_colours(sh: Tensor, means: Tensor, centre: Tensor) -> Tensor:
    """Colours [n, 3] of sh [n, (degree + 1)^2, 3] seen from centre [3]: max(0, sum + 0.5), no upper limit."""
    offsets = means - centre
    directions = offsets / offsets.norm(dim=1, keepdim=True)
    basis = sh_basis(directions, sh.shape[1])
    return ((basis.unsqueeze(2) * sh).sum(1) + 0.5).clamp_min(0)
