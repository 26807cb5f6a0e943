"""Pictures in a mixture on a GPU: the numbers of the CPU, and gradients that reach what is learned of them."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from router import mix
from tests.router.test_pictures import learned, pictures, router_of
from tests.small_world import camera, small_experts

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("cues", [False, True])
@pytest.mark.parametrize("backend", ["cuda", "cuda-half"])
def test_a_gpu_gives_the_mixture_of_the_cpu(cues: bool, backend: str) -> None:
    experts = [*small_experts()[:2], pictures("Videos", 4)]
    router = learned(router_of(experts, cues=cues))
    with torch.no_grad():
        for parameter in router.parameters():
            parameter.mul_(0.3)
    given = {"frame": 1, "time": 0.25, "temperature": 1.0, "depths": True}
    ours = mix(router, experts, camera(1), **given, backend="cpu")
    theirs = mix(deepcopy(router).cuda(), [each.cuda() for each in experts], camera(1), **given, backend=backend)
    most = 1e-4 if backend == "cuda" else 2e-2
    for name in ("image", "gates", "alphas"):
        torch.testing.assert_close(getattr(theirs, name).cpu(), getattr(ours, name), rtol=0, atol=most)
    assert torch.equal(theirs.depths.isnan().cpu(), ours.depths.isnan())


def test_gradients_on_a_gpu_are_those_of_the_cpu() -> None:
    experts, gradients = [*small_experts()[:2], pictures("Videos", 4)], []
    router = learned(router_of(experts))
    for device, backend in (("cpu", "cpu"), ("cuda", "cuda")):
        own = deepcopy(router).to(device)
        there = [each.to(device) for each in experts]
        given = {"frame": 1, "time": 0.25, "temperature": 1.0}
        mix(own, there, camera(1), **given, grad="features", backend=backend).image.square().mean().backward()
        gradient = own.pictures["Videos"].weight.grad
        assert gradient is not None
        gradients.append(gradient.cpu())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-7)
