"""Quaternions are used as given: one of length p means (1 - p^2) I + p^2 R(q / p)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moegs_rasterizer import Gaussians
from moegs_rasterizer.reference.projection import rotations
from torch import Tensor

from ..backends import PLAYED, one_thread, rendered
from ..scenes import camera_of, small_layer

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

few = settings(max_examples=20, deadline=None, derandomize=True)


@few
@given(quat=st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_a_quaternion_of_length_p_mixes_identity_and_rotation(quat):
    q = torch.tensor([quat], dtype=torch.float64)
    square = q.square().sum()
    unit = q / square.sqrt() if square > 1e-12 else q
    identity = torch.eye(3, dtype=torch.float64)
    rotation = rotations(unit)[0]
    if square > 1e-12:
        torch.testing.assert_close(rotation @ rotation.T, identity, atol=1e-12, rtol=0)
    expected = (1 - square) * identity + square * rotation
    torch.testing.assert_close(rotations(q)[0], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("backend", PLAYED)
@few
@given(seed=st.integers(0, 10_000), length=st.floats(0.2, 1.6))
def test_gaussians_with_any_quaternion_length_follow_the_mix(backend, seed, length):
    """The image is that of unit quaternions and scales made from the covariance of the mixed matrix."""
    layer = small_layer(12, seed, dtype=torch.float64)
    unit = torch.nn.functional.normalize(layer.gaussians.quats, dim=1)
    mixed = (1 - length**2) * torch.eye(3, dtype=torch.float64) + length**2 * rotations(unit)
    covariance = mixed @ torch.diag_embed(layer.gaussians.scales**2) @ mixed.transpose(1, 2)
    values, axes = torch.linalg.eigh(covariance)
    axes = axes * torch.linalg.det(axes)[:, None, None]
    same = replace(layer.gaussians, scales=values.clamp_min(0).sqrt(), quats=quaternions(axes))
    given_quats = replace(layer.gaussians, quats=unit * length)
    dtype = torch.float64 if backend == "torch" else torch.float32
    first, second = (
        rendered(
            [replace(layer, gaussians=cast(some, dtype), background=layer.background.to(dtype))],
            camera_of(20, 20),
            backend,
        )[0]
        for some in (given_quats, same)
    )
    torch.testing.assert_close(first.colour, second.colour, atol=1e-9 if backend == "torch" else 2e-4, rtol=0)


def cast(gaussians: Gaussians, dtype: torch.dtype) -> Gaussians:
    return Gaussians(
        means=gaussians.means.to(dtype),
        scales=gaussians.scales.to(dtype),
        quats=gaussians.quats.to(dtype),
        opacities=gaussians.opacities.to(dtype),
        colours=gaussians.colours.to(dtype),
    )


def quaternions(matrices: Tensor) -> Tensor:
    """Unit quaternions wxyz of rotation matrices [n, 3, 3]: the eigenvector of Bar-Itzhack's 4x4 matrix."""
    m = matrices
    k = torch.zeros(len(m), 4, 4, dtype=m.dtype)
    trace = m.diagonal(dim1=1, dim2=2).sum(1)
    twist = torch.stack([m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], dim=1)
    k[:, 0, 0] = trace
    k[:, 0, 1:] = k[:, 1:, 0] = twist
    k[:, 1:, 1:] = m + m.transpose(1, 2) - trace[:, None, None] * torch.eye(3, dtype=m.dtype)
    return torch.linalg.eigh(k)[1][:, :, -1]
