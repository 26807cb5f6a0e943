"""The scenes of the GPU's table have the distributions that they promise."""

from __future__ import annotations

import pytest
import torch
from moegs_rasterizer import RasterSettings
from moegs_rasterizer.reference.projection import project, view_points

from benchmarks.trained_scenes import trained_like_scene


def test_trained_like_scene_has_the_stated_distributions():
    count = 20_000
    gaussians, camera = trained_like_scene(count=count, width=160, height=120, seed=0)
    depths = view_points(gaussians.means, camera)[:, 2]
    assert 4.5 - 1e-4 < depths.min() < 4.51
    assert 22.49 < depths.max() < 22.5 + 1e-4
    assert depths.mean() == pytest.approx(13.5, abs=0.2)
    logs = (gaussians.scales * camera.fx / depths.unsqueeze(1)).log()
    assert logs.median().exp() == pytest.approx(2.2, rel=0.02)
    assert logs.std() == pytest.approx(0.8, rel=0.02)
    logits = torch.logit(gaussians.opacities.double())
    assert logits.mean() == pytest.approx(-0.3, abs=0.06)
    assert logits.std() == pytest.approx(2.0, rel=0.03)
    assert gaussians.quats.norm(dim=1) == pytest.approx(torch.ones(count), abs=1e-6)
    assert gaussians.sh is not None
    bands = torch.split(gaussians.sh, [1, 3, 5, 7], dim=1)
    assert [float(band.std()) for band in bands] == pytest.approx([1.0, 0.2, 0.1, 0.05], rel=0.03)
    projected = project(gaussians, camera, RasterSettings()).means2d
    share = (projected + 0.5) / torch.tensor([160.0, 120.0])
    inside = ((share > 0) & (share < 1)).all(1).float().mean()
    assert inside == pytest.approx(1 / (1 + 2 / 30) ** 2, abs=0.01)


def test_trained_like_scene_repeats_with_its_seed():
    one, same, other = (trained_like_scene(count=9, width=40, height=30, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one.means, same.means)
    assert torch.equal(one.opacities, same.opacities)
    assert not torch.equal(one.means, other.means)
