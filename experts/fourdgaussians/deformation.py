"""4DGaussians' deformation: one network of HexPlane features at a Gaussian's mean and time (Wu et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from experts.canonical.gaussians import Raw
from experts.canonical.heads import head, trunk
from experts.canonical.heads_fused import fused_heads
from experts.fourdgaussians.planes import PLANES, TIME_AXIS, EmptyVoxel
from experts.fourdgaussians.planes_fused import FusedHexPlanes
from experts.fourdgaussians.recipe import FourDGaussiansOptions, NetworkShape

_OUTPUTS: tuple[tuple[Literal["means", "log_scales", "quats", "opacity_logits", "sh"], str, int], ...] = (
    ("means", "pos_deform", 3),
    ("log_scales", "scales_deform", 3),
    ("quats", "rotations_deform", 4),
    ("opacity_logits", "opacity_deform", 1),
    ("sh", "shs_deform", 48),
)


class PlaneNetwork(nn.Module):
    """The part of the network that is used, named `deformation_net` in deformation.pth."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        # The choice: HexPlanes gives the same features up to rounding, in more launches.
        self.grid = FusedHexPlanes(channels=shape.channels, resolutions=shape.resolutions)
        self.feature_out = trunk(shape.channels * len(shape.resolutions), shape.width, shape.depth)
        for key, name, outputs in _OUTPUTS:
            if key != "sh" or shape.colour_head:
                self.add_module(name, head(shape.width, outputs))
        self.static_mlp = head(shape.width, 1) if shape.static_mlp else None
        self.empty_voxel = EmptyVoxel(size=shape.empty_voxel) if shape.empty_voxel else None

    def forward(self, points: Tensor, time: float, names: Sequence[str]) -> tuple[list[Tensor], Tensor | None]:
        """Residuals of the named heads at points [n, 3], and the factor [n, 1] on what they are added to, if any."""
        heads = [self.get_submodule(name) for name in names]
        if self.static_mlp is not None:
            heads.append(self.static_mlp)
        # The choice: plain_heads gives the same up to rounding, in more launches.
        residuals = fused_heads(self.grid(points, time), self.feature_out, heads)
        if self.static_mlp is not None:
            return residuals[:-1], residuals[-1]
        return residuals, None if self.empty_voxel is None else self.empty_voxel(points)


class FourDGaussiansDeformation(nn.Module):
    """The whole content of deformation.pth, under its names."""

    def __init__(self, options: FourDGaussiansOptions, shape: NetworkShape) -> None:
        super().__init__()
        self.options = options
        names = ("time_poc", "pos_poc", "rotation_scaling_poc", "opacity_poc")
        for name, count in zip(names, shape.encodings, strict=True):
            self.register_buffer(name, torch.tensor([2.0**power for power in range(count)]))
        hidden, out = shape.timenet
        self.timenet = nn.Sequential(nn.Linear(2 * shape.encodings[0] + 1, hidden), nn.ReLU(), nn.Linear(hidden, out))
        self.deformation_net = PlaneNetwork(shape)

    def forward(self, raw: Raw, time: float) -> Raw:
        """Raw tensors at a time from the canonical ones."""
        enabled = self.options.enabled()
        outputs = [(key, name) for key, name, _ in _OUTPUTS if enabled[key]]
        residuals, factor = self.deformation_net(raw["means"], time, [name for _, name in outputs])
        deformed = raw.copy()
        for (key, _), residual in zip(outputs, residuals, strict=True):
            if key == "quats" and self.options.apply_rotation:
                deformed[key] = quaternion_product(raw[key], residual)
            elif key == "quats" or factor is None:
                deformed[key] = raw[key] + residual
            else:
                deformed[key] = torch.addcmul(residual, raw[key], factor)
        return deformed


def quaternion_product(first: Tensor, second: Tensor) -> Tensor:
    """Hamilton product [n, 4] of quaternions wxyz: the rotation `second`, then `first`."""
    (w, x, y, z), (a, b, c, d) = first.unbind(1), second.unbind(1)
    return torch.stack(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ],
        dim=1,
    )


def initialise(network: FourDGaussiansDeformation) -> None:
    """4DGaussians' start: space planes uniform in 0.1 ... 0.5, time planes one, weights Xavier-uniform."""
    for planes in network.deformation_net.grid.grids:
        assert isinstance(planes, nn.ParameterList)
        for plane, axes in zip(planes, PLANES, strict=True):
            if TIME_AXIS in axes:
                nn.init.ones_(plane)
            else:
                nn.init.uniform_(plane, 0.1, 0.5)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
