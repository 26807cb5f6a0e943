"""A mixture with an expert of windows: images and routing weights of an overlap fade linearly, and both are learned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.runs.device import CPU, ComputeDevice
from engine.runs.experts.images import image_of
from engine.runs.run import Run, mix_camera
from experts.kept_frames import ExpertFrames
from experts.windows.folders import Window
from experts.windows.model import WindowedExpert
from router import Router
from router.playback import Playback
from tests.small_world import CloudExpert, camera, small_run

OF_WINDOWS = ("features.static.0", "features.temporal.0")
COMPUTE = ComputeDevice(device=CPU, backend="torch")


def expert_of(index: int) -> CloudExpert:
    return CloudExpert("STG", 10 + index, colour=0.2 + 0.5 * index).requires_grad_(False)


@pytest.fixture
def run(tmp_path) -> Run:
    """The small run with its first expert in windows of frames 0 to 2 and 1 to 3."""
    run = small_run(tmp_path, COMPUTE)
    windows = (Window(first=0, last=2), Window(first=1, last=3))
    experts = (WindowedExpert(windows, [expert_of(0), expert_of(1)]), *run.experts[1:])
    torch.manual_seed(3)
    router = Router([each.name for each in experts], [each.num_gaussians for each in experts])
    for table in (*router.features.static, *router.features.temporal):
        table.data += 0.5 * torch.randn_like(table)
    return replace(run, experts=experts, router=router, backend="torch")


def alone(run: Run, index: int, frame: float):
    """The mixture with one window in the place of the windowed expert, with its rows of the router's table."""
    experts = (run.experts[0].experts[index], *run.experts[1:])
    router = Router([each.name for each in experts], [each.num_gaussians for each in experts])
    state = run.router.state_dict()
    rows = slice(50 * index, 50 * (index + 1))
    own = {name: value[rows] if name in OF_WINDOWS else value for name, value in state.items()}
    router.load_state_dict(own)
    return mix_camera(
        replace(run, experts=experts, router=router), camera(0), frame - index, camera_number=None, temperature=1.0
    )


def test_an_overlap_is_the_linear_blend_of_both_windows(run):
    mixture = mix_camera(run, camera(0), 2, temperature=1.0)
    images = [
        image_of(each, camera(0), 2 - index, compute=COMPUTE) for index, each in enumerate(run.experts[0].experts)
    ]
    torch.testing.assert_close(mixture.images[0], images[0] / 3 + 2 * images[1] / 3)
    torch.testing.assert_close(image_of(run.experts[0], camera(0), 2, compute=COMPUTE), mixture.images[0])
    torch.testing.assert_close(mixture.gates.sum(0), torch.ones_like(mixture.gates[0]))
    assert not torch.allclose(images[0], images[1])
    kept = mix_camera(replace(run, frames=ExpertFrames(most=2**24)), camera(0), 2, temperature=1.0)
    assert torch.equal(kept.image, mixture.image)


def test_outside_of_an_overlap_there_is_one_window_alone(run):
    mixture, expected = mix_camera(run, camera(0), 0, temperature=1.0), alone(run, 0, 0)
    for name in ("image", "images", "gates", "logits", "alphas"):
        assert torch.equal(getattr(mixture, name), getattr(expected, name))


def test_weights_of_both_windows_learn_in_an_overlap(run):
    run.router.train().requires_grad_(True)
    for frame, learned in ((0, {0}), (1, {0, 1}), (3, {1})):
        run.router.zero_grad(set_to_none=True)
        mix_camera(run, camera(1), frame, grad="features", temperature=1.0).image.square().sum().backward()
        gradient = run.router.features.static[0].grad
        assert {index for index in (0, 1) if gradient[50 * index : 50 * (index + 1)].any()} == learned


def test_no_graph_plays_windows(run):
    with pytest.raises(ValueError, match=" is of windows, whose images fade"):
        Playback(run.experts, camera(0), source=ExpertFrames(), router=run.router)
