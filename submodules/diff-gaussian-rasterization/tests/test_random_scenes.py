"""The random scenes have the distributions that they promise."""

from __future__ import annotations

import pytest
import torch
from moegs_rasterizer import Layer, RasterSettings, rasterize
from moegs_rasterizer.random_scenes import random_scene

from .backends import one_thread, require
from .random_layers import layer_of, tensors_of

pytestmark = pytest.mark.usefixtures(one_thread.__name__)


def test_scene_repeats_with_its_seed():
    one, other = (tensors_of(layer_of(50, 40, 30, seed=3, sh_degree=2)[0]) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    different = tensors_of(layer_of(50, 40, 30, seed=4, sh_degree=2)[0])
    assert not torch.equal(one["means"], different["means"])


def test_scene_continues_a_generator():
    draw = torch.Generator().manual_seed(3)
    first, _ = random_scene(count=10, width=40, height=30, seed=draw)
    second, _ = random_scene(count=10, width=40, height=30, seed=draw)
    assert not torch.equal(first.means, second.means)


@pytest.mark.parametrize("count", [500, 5000])
def test_scene_fills_the_view_like_a_trained_one(count):
    require("cpu")
    gaussians, camera = random_scene(count=count, width=160, height=120, sh_degree=None)
    layer = Layer(gaussians=gaussians, settings=RasterSettings(), background=torch.zeros(3))
    splat = rasterize([layer], camera, backend="cpu")[0]
    seen = splat.radii > 0
    assert 0.85 < seen.float().mean() < 1
    assert splat.alpha.mean() > 0.95
    # 3 sigma of the longer axis: that is wider than the median spread of 1.1 sqrt(pixels / count).
    spread = 1.1 * (160 * 120 / count) ** 0.5
    assert 3 * spread < splat.radii[seen].float().median() < 9 * spread
