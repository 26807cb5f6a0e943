"""The benchmark's estimate by hand, and its counts against a walk through every pixel."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings
from moegs_rasterizer.random_scenes import random_scene
from moegs_rasterizer.reference.projection import project

from benchmarks.rasterizer.roofline import Counts, Machine, count_layers, estimate_backward, estimate_forward

# Four layers of 200,000 at 1352x1014 with 3 + 3 channels, three quarters of them seen, 8 tiles each.
COUNTS = Counts(
    gaussians=800_000,
    visible=600_000,
    boxed=6_000_000,
    instances=4_800_000,
    walked=2_880_000,
    tested=332_000_000,
    blended=166_000_000,
    tiles=21_760,
    colour_floats=600_000 * 48,
    feature_floats=600_000 * 3,
    pixel_floats=4 * 6 * 1352 * 1014,
    state_floats=90_000 * 256 * 7,
)
MACHINE = Machine(bytes_per_second=3e12, warp_instructions_per_second=927e9)


def test_forward_estimate_by_hand():
    estimate = estimate_forward(COUNTS, MACHINE)
    # Bytes over 3 TB/s: (800 k x 11 + 600 k x 51) x 4 + 600 k x 48; 600 k x 8 x 2 x 4; 4.8 M x 6; the same 4 times.
    assert estimate["projection"] == pytest.approx((157.6e6 + 28.8e6) / 3e9)
    assert estimate["depth sort"] == pytest.approx(38.4e6 / 3e9)
    assert estimate["instances"] == pytest.approx(28.8e6 / 3e9)
    assert estimate["tile sort"] == pytest.approx(115.2e6 / 3e9)
    # (14 x 332 M + 12 x 166 M) / 32 / 927 G/s, and 2.88 M x 48 + 131.6 MB of images.
    assert estimate["blending"] == pytest.approx(0.2239 + (138.24e6 + 131.608e6) / 3e9, abs=1e-4)
    assert len(estimate) == 5


def test_wide_keys_cost_more():
    wide = estimate_forward(replace(COUNTS, tiles=70_000), MACHINE)
    assert wide["tile sort"] == pytest.approx(4.8e6 * 8 * 2 * 3 / 3e9)  # 17 bits: 3 passes over 8 bytes


def test_backward_estimate_by_hand():
    # 90,000 buckets of 32 x 287 steps x 72 or 25 slots; 7 floats or 1 of state for 256 pixels a bucket.
    full = estimate_backward(COUNTS, MACHINE, full=True)["blending backward"]
    assert full == pytest.approx(1000 * 90e3 * 287 * 72 / 927e9 + 90e3 * 256 * 7 * 4 / 3e9)
    features = estimate_backward(COUNTS, MACHINE, full=False)["blending backward"]
    assert features == pytest.approx(1000 * 90e3 * 287 * 25 / 927e9 + 90e3 * 256 * 4 / 3e9)


def test_counts_of_one_opaque_gaussian_by_hand():
    """Scale 4 px at the middle of a 32x32 image: 2 ln(255 x 0.5) sigma^2 gives a circle of 12.46 px, four tiles."""
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0.0, 10.0]]),
        scales=torch.full((1, 3), 0.4),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        opacities=torch.tensor([0.5]),
        colours=torch.ones(1, 2),
    )
    camera = Camera(world_to_camera=torch.eye(4), fx=100, fy=100, cx=16, cy=16, width=32, height=32)
    layer = Layer(gaussians=gaussians, settings=RasterSettings(low_pass=0.0), background=torch.zeros(2))
    counts = count_layers([layer, layer], camera)
    axis = torch.arange(32) + 0.5 - 16
    inside = axis.square().unsqueeze(0) + axis.square().unsqueeze(1) <= 2 * 16 * math.log(255 * 0.5)
    warps = inside.reshape(8, 4, 4, 8).any(3).any(1)
    assert counts.gaussians == counts.visible == 2
    assert counts.boxed == counts.instances == counts.walked == 2 * 4
    assert counts.blended == 2 * int(inside.sum())
    assert counts.tested == 2 * 32 * int(warps.sum())
    assert counts.tiles == 2 * 4
    assert counts.colour_floats == 4
    assert counts.feature_floats == 0
    assert counts.pixel_floats == 2 * 2 * 32 * 32


def test_counts_agree_with_a_walk_through_every_pixel():
    gaussians, camera = random_scene(count=150, width=40, height=27, seed=5, sh_degree=None)
    opacities = gaussians.opacities.clamp_min(0.6)
    opacities[:5] = 0.003  # below 1/255
    layer = Layer(
        gaussians=replace(gaussians, opacities=opacities),
        settings=RasterSettings(),
        background=torch.zeros(6),
        features=torch.zeros(150, 3),
    )
    counts = count_layers([layer], camera)
    assert (counts.instances, counts.walked, counts.tested, counts.blended) == _walk(layer, camera)
    assert counts.walked < counts.instances < counts.boxed  # or the scene tests too little
    assert counts.visible == 150 - 5


def _walk(layer: Layer, camera: Camera) -> tuple[int, int, int, int]:
    """Instances, walked, tested and blended pairs, pixel by pixel as a kernel would go."""
    projection = project(layer.gaussians, camera, layer.settings)
    order = torch.argsort(projection.depths).tolist()
    instances = walked = tested = blended = 0
    for top in range(0, camera.height, 16):
        for left in range(0, camera.width, 16):
            rows, columns = range(top, min(top + 16, camera.height)), range(left, min(left + 16, camera.width))
            y, x = torch.meshgrid(torch.tensor(rows), torch.tensor(columns), indexing="ij")
            warp = (y % 16 // 4 * 2 + x % 16 // 8).flatten()
            left_over = torch.ones(y.shape)
            live = torch.ones(y.shape, dtype=torch.bool)
            for g in order:
                dx, dy = projection.means2d[g, 0] - x, projection.means2d[g, 1] - y
                xx, xy, yy = projection.conics[g]
                power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
                alpha = (projection.opacities[g] * torch.exp(power)).clamp_max(0.99)
                kept = (alpha >= 1 / 255) & (power <= 0)
                if not kept.any() or projection.depths[g] <= layer.settings.near:
                    continue
                instances += 1
                walked += bool(live.any())
                for one in warp.unique():
                    mine = warp == one
                    tested += 32 * bool(kept.flatten()[mine].any() and live.flatten()[mine].any())
                live &= ~kept | (left_over * (1 - alpha) >= 1e-4)
                left_over = torch.where(kept & live, left_over * (1 - alpha), left_over)
                blended += int((kept & live).sum())
    return instances, walked, tested, blended
