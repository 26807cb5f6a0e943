"""A forward without gradient can be captured in a CUDA graph and replayed on changed inputs."""

from __future__ import annotations

import pytest
import torch
from moegs_rasterizer import rasterize

from ..backends import one_thread
from ..random_layers import layer_of
from .cuda_scenes import forward, to_gpu

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures(one_thread.__name__)]


def test_a_captured_forward_follows_its_inputs():
    layer, camera = layer_of(3000, 200, 150, sh_degree=2)
    layer = to_gpu(layer)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            rasterize([layer], camera, backend="cuda")
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        splat = rasterize([layer], camera, backend="cuda")[0]
    for shift in (0.0, 0.03):
        layer.gaussians.means.add_(shift)
        layer.features.neg_()
        graph.replay()
        images = (splat.colour.cpu(), splat.features.cpu())
        wanted = forward(layer, camera, grad="none").images()
        assert torch.equal(images[0], wanted["colour"])
        assert torch.equal(images[1], wanted["features"])
