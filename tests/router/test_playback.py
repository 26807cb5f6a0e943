"""Playback: the images of the mixture and of an expert alone, for frames in any order, also from a CUDA graph."""

from __future__ import annotations

import pytest
import torch
from moegs_rasterizer import Layer, rasterize

from benchmarks.workload import Workload, random_run
from engine.runs.device import CUDA, ComputeDevice, wait
from engine.runs.run import mix_camera
from experts.kept_frames import COMPUTED, ExpertFrames
from router import ENSEMBLES, mix
from router.playback import Playback
from tests.experts.test_kept_frames import fading
from tests.router.test_router import make_router
from tests.small_world import FRAMES, CloudExpert, camera

SOURCES = pytest.mark.parametrize("source", [COMPUTED, ExpertFrames(most=2**30)], ids=["computed", "kept"])


@SOURCES
def test_a_mixture_is_played_as_it_is_mixed(source):
    experts = fading(segments=2)
    router = make_router(experts)
    playback = Playback(experts, camera(0), source=source, router=router)
    playback.prepare((frame, frame / FRAMES) for frame in (0, 2))
    for frame in (1, 3, 0, 2.5, 1):
        expected = mix(
            router, experts, camera(0), frame=frame, time=frame / FRAMES, temperature=router.eval_temperature
        )
        torch.testing.assert_close(playback.image(frame, frame / FRAMES), expected.image, atol=1e-6, rtol=0)


@SOURCES
def test_an_expert_is_played_alone(source):
    expert = fading()[0]
    playback = Playback([expert], camera(1), source=source, camera_number=3)
    for frame in (2, 0, 1):
        gaussians = expert.at(frame, camera=3)
        layer = Layer(gaussians=gaussians, settings=expert.settings, background=torch.ones(3))
        assert torch.equal(playback.image(frame, 0.0), rasterize([layer], camera(1))[0].colour)


def test_experts_that_cannot_be_played():
    experts = [CloudExpert("A", 1), CloudExpert("B", 2)]
    with pytest.raises(ValueError, match="2 experts are to be played without a router"):
        Playback(experts, camera(0), source=COMPUTED)
    experts[0].background = (0.0,) * 9
    with pytest.raises(ValueError, match="A decodes 9 channels"):
        Playback(experts[:1], camera(0), source=COMPUTED)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["E4", "E3"])
def test_a_graph_draws_the_mixture_of_every_frame(name):
    run = random_run(
        Workload(gaussians=3000, width=200, height=150, seed=0),
        ENSEMBLES[name],
        ComputeDevice(device=CUDA, backend="cuda"),
    )
    seen = run.scene.views[0].camera
    playback = Playback(run.experts, seen, source=ExpertFrames(most=2**28), router=run.router, backend="cuda")
    playback.prepare((frame, run.time(frame)) for frame in (0, 100, 299))
    for frame in (0, 7, 150, 7):
        found = playback.image(frame, run.time(frame)).clone()
        assert torch.equal(found, mix_camera(run, seen, frame).image)
    wait(run.compute)
