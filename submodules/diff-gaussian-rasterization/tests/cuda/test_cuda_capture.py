"""Calls can be captured in a CUDA graph, with their backward passes, and replayed on changed inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Layer, RasterizerError, Splat, cuda, rasterize
from moegs_rasterizer.cuda.reports import mailbox
from torch import Tensor

from ..backends import one_thread
from ..random_layers import layer_of
from .cuda_scenes import GRADIENT_TOLERANCE, forward, to_gpu

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures(one_thread.__name__)]


def capture(layer: Layer, camera: Camera, *, warm_up: int = 3) -> tuple[torch.cuda.CUDAGraph, Splat]:
    """A graph of one call, and the splat that each replay fills."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_up):
            rasterize([layer], camera, backend="cuda")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        splat = rasterize([layer], camera, backend="cuda")[0]
    return graph, splat


def test_a_captured_forward_follows_its_inputs():
    layer, camera = layer_of(3000, 200, 150, sh_degree=2)
    layer = to_gpu(layer)
    graph, splat = capture(layer, camera)
    for shift in (0.0, 0.03):
        layer.gaussians.means.add_(shift)
        layer.features.neg_()
        graph.replay()
        images = (splat.colour.cpu(), splat.features.cpu())
        wanted = forward(layer, camera, grad="none").images()
        assert torch.equal(images[0], wanted["colour"])
        assert torch.equal(images[1], wanted["features"])


def test_a_captured_forward_sees_from_another_camera():
    layer, camera = layer_of(2000, 180, 140, sh_degree=3)
    layer = to_gpu(layer)
    graph, splat = capture(layer, camera)
    call = cuda.captured_calls()[-1]
    for shift in (0.1, -0.2):
        matrix = camera.world_to_camera.clone()
        matrix[0, 3] += shift
        moved = replace(camera, world_to_camera=matrix, fx=camera.fx * 1.1)
        call.look_from(moved)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(splat.colour.cpu(), forward(layer, moved, grad="none").images()["colour"])


def test_a_camera_on_the_gpu_is_not_captured():
    layer, camera = layer_of(100, 48, 32, sh_degree=1)
    layer = to_gpu(layer)
    forward(layer, camera)
    there = replace(camera, world_to_camera=camera.world_to_camera.cuda())
    torch.cuda.synchronize()
    with pytest.raises(RasterizerError, match="look_from"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        rasterize([layer], there, backend="cuda")


def test_a_replay_tells_when_it_had_too_little_room():
    """And renders the right bits all the same."""
    layer, camera = layer_of(3000, 203, 151, sh_degree=1)
    layer = to_gpu(layer)
    given = layer.gaussians
    sizes = given.scales.clone()
    given.scales.mul_(0.01)
    given.opacities.mul_(0.2)
    graph, splat = capture(layer, camera)
    watched = cuda.captured_calls()[-1]
    graph.replay()
    torch.cuda.synchronize()
    small = watched.instances
    assert 0 < small <= watched.capacity
    assert not watched.overflowed
    given.scales.copy_(60 * sizes)
    graph.replay()
    torch.cuda.synchronize()
    assert watched.instances > watched.capacity > small
    assert watched.overflowed
    watched.check()
    assert torch.equal(splat.colour.cpu(), forward(layer, camera, grad="none").images()["colour"])


def test_a_replay_tells_of_bad_values():
    layer, camera = layer_of(300, 64, 48, sh_degree=1)
    layer = to_gpu(layer)
    graph, splat = capture(layer, camera)
    watched = cuda.captured_calls(torch.device("cuda"))[-1]
    watched.check()
    layer.gaussians.means[7, 1] = float("nan")
    graph.replay()
    torch.cuda.synchronize()
    assert splat.colour.isnan().all()
    with pytest.raises(RasterizerError, match=r"^layer 0: means .*row 7\b"):
        watched.check()
    cuda.check()  # calls outside of graphs have met nothing


def step(layer: Layer, camera: Camera, *, grad: str) -> tuple[Tensor, dict[str, Tensor]]:
    """The colour and the gradients of a pass."""
    one = forward(layer, camera, grad=grad)
    one.backward()
    return one.splat.colour, {name: leaf.grad for name, leaf in one.leaves.items() if leaf.grad is not None}


def capture_step(layer: Layer, camera: Camera, *, grad: str) -> tuple[torch.cuda.CUDAGraph, Tensor, dict[str, Tensor]]:
    """A graph of a pass forward and backward, its image and its gradients."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(layer, camera, grad=grad)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        colour, gradients = step(layer, camera, grad=grad)
    return graph, colour, gradients


def assert_gradients_alike(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert gradient.norm() > 0, name
        assert (found[name] - gradient).norm() <= GRADIENT_TOLERANCE * gradient.norm(), name


@pytest.mark.parametrize("grad", ["features", "full"])
def test_a_captured_step_follows_its_inputs_and_its_camera(grad):
    layer, camera = layer_of(3000, 200, 150, sh_degree=2)
    layer = to_gpu(layer)
    graph, colour, gradients = capture_step(layer, camera, grad=grad)
    call = cuda.captured_calls()[-1]
    for shift in (0.0, 0.1, -0.2):
        layer.gaussians.means.add_(0.1 * shift)
        matrix = camera.world_to_camera.clone()
        matrix[0, 3] += shift
        moved = replace(camera, world_to_camera=matrix, fx=camera.fx * (1 + 0.2 * shift))
        call.look_from(moved)
        for gradient in gradients.values():
            gradient.fill_(float("nan"))
        graph.replay()
        torch.cuda.synchronize()
        assert not call.overflowed
        wanted_colour, wanted = step(layer, moved, grad=grad)
        assert torch.equal(colour, wanted_colour)
        assert_gradients_alike(gradients, wanted)
    cuda.check()


@pytest.mark.parametrize("grad", ["features", "full"])
def test_a_captured_step_with_too_little_room_has_the_right_gradients(grad):
    layer, camera = layer_of(3000, 205, 151, sh_degree=1)
    layer = to_gpu(layer)
    mailbox(layer.gaussians.means.device).known.clear()  # other calls of this size had more instances
    given = layer.gaussians
    sizes = given.scales.clone()
    given.scales.mul_(0.01)
    given.opacities.mul_(0.2)
    graph, colour, gradients = capture_step(layer, camera, grad=grad)
    call = cuda.captured_calls()[-1]
    given.scales.copy_(3 * sizes)
    graph.replay()
    torch.cuda.synchronize()
    assert call.overflowed
    call.check()
    wanted_colour, wanted = step(layer, camera, grad=grad)
    assert torch.equal(colour, wanted_colour)
    assert_gradients_alike(gradients, wanted)


def test_a_training_step_in_one_graph_learns_as_one_outside():
    layer, camera = layer_of(2000, 160, 120, sh_degree=1)
    layer = to_gpu(layer)
    target = forward(layer, camera, grad="none").splat.features.neg()

    def trained(steps: int, *, captured: bool) -> Tensor:
        features = layer.features.clone().requires_grad_()
        optimiser = torch.optim.Adam([features], lr=0.01, capturable=True)
        losses = []

        def one_step() -> Tensor:
            optimiser.zero_grad(set_to_none=True)
            (splat,) = rasterize([replace(layer, features=features)], camera, grad="features", backend="cuda")
            loss = (splat.features - target).square().mean()
            loss.backward()
            optimiser.step()
            return loss.detach()

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses += [one_step().clone() for _ in range(3)]
        torch.cuda.synchronize()
        if captured:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                loss = one_step()
        for _ in range(steps):
            if captured:
                graph.replay()
                losses.append(loss.clone())
            else:
                losses.append(one_step().clone())
        return torch.stack(losses)

    plain, captured = trained(20, captured=False), trained(20, captured=True)
    assert plain[-1] < 0.9 * plain[0]
    assert torch.allclose(plain, captured, rtol=1e-3)


def test_gradients_of_a_fixed_order_are_not_captured():
    layer, camera = layer_of(100, 48, 32, sh_degree=1)
    layer = to_gpu(layer)
    forward(layer, camera)
    leaf = layer.features.clone().requires_grad_()
    torch.cuda.synchronize()
    with (
        pytest.raises(RasterizerError, match="cannot capture deterministic gradients"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        rasterize([replace(layer, features=leaf)], camera, grad="features", deterministic=True, backend="cuda")


def test_the_backward_pass_of_a_call_made_before_is_not_captured():
    layer, camera = layer_of(100, 48, 32, sh_degree=1)
    layer, stream = to_gpu(layer), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):  # autograd goes back on the stream of the call
        one = forward(layer, camera, grad="features")
    torch.cuda.synchronize()
    with (
        pytest.raises(RasterizerError, match="the backward pass of a call made before it"),
        torch.cuda.graph(torch.cuda.CUDAGraph(), stream=stream),
    ):
        one.backward()
