"""Calls with gradients in a CUDA graph: what their kernels do where no host reads what the GPU counted, on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import RasterizerError, RasterSettings
from moegs_rasterizer.cuda import passes, reports
from moegs_rasterizer.views import view_rows

from ..backends import KERNELS, one_thread
from ..random_layers import PLANES, Run, gradients_of, layer_of, run, tensors_of, with_tensors
from . import player

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

KINDS = (  # colours, features, settings
    (3, 3, RasterSettings()),
    (9, 20, RasterSettings(low_pass=0.1, compensate=True, depth="mean")),
    (0, 0, RasterSettings(tile_rule="inria")),
)


def scene():
    made = [
        layer_of(150, 86, 61, seed=seed, colours=colours, features=features, settings=settings)
        for seed, (colours, features, settings) in enumerate(KINDS)
    ]
    return [layer for layer, _ in made], made[0][1]


def in_graph(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(passes, "captured", lambda: True)


def assert_same_pass(found: Run, wanted: Run) -> None:
    """The same bits forward, and gradients that differ by the order of their sums alone."""
    for index, (one, right) in enumerate(zip(found.splats, wanted.splats, strict=True)):
        for name in PLANES:
            value = getattr(right, name)
            assert value is None or torch.equal(getattr(one, name), value), name
        for name, gradient in gradients_of(wanted, index).items():
            error = (gradients_of(found, index)[name] - gradient).norm()
            assert error <= 1e-6 * gradient.norm(), (index, name)


@pytest.mark.parametrize("room", [True, False])
def test_a_captured_call_has_the_gradients_of_others_with_and_without_room(room, monkeypatch):
    monkeypatch.setattr(reports, "LEAST_CAPACITY", 64)
    layers, camera = scene()
    wanted = run(layers, camera, backend=KERNELS, deterministic=True)
    mailbox = player.mailbox()
    size = next(size for size in mailbox.known if size[:3] == (86, 61, 3))
    if not room:
        mailbox.known[size] = 1
    in_graph(monkeypatch)
    found = run(layers, camera, backend=KERNELS)
    assert mailbox.watched[-1].overflowed is not room
    assert_same_pass(found, wanted)


def test_a_captured_backward_pass_sees_from_where_the_camera_was_moved_to(monkeypatch):
    """The operators read views from memory that replays fill anew, not from the call's arguments."""
    layers, camera = scene()
    matrix = camera.world_to_camera.clone()
    matrix[0, 3] += 0.25
    moved = replace(camera, world_to_camera=matrix, fx=1.2 * camera.fx)
    wanted = run(layers, moved, backend=KERNELS, deterministic=True)
    operators = passes.operators()

    def forward(*given: object) -> object:
        made = operators.forward(*given)
        views = made[-1]
        assert views.tolist() == view_rows(moved, [layer.settings for layer in layers])
        passed.append(views.clone())
        return made

    def project_backward(projected: object, kinds: object, gradients: object, views: torch.Tensor, *rest: object):
        assert rest[0] is True
        assert torch.equal(views, passed[-1])
        return operators.project_backward(projected, kinds, gradients, views, *rest)

    passed: list[torch.Tensor] = []
    in_graph(monkeypatch)
    monkeypatch.setattr(
        passes, "operators", lambda: replace(operators, forward=forward, project_backward=project_backward)
    )
    found = run(layers, moved, backend=KERNELS)
    assert len(passed) == 1
    assert_same_pass(found, wanted)


@pytest.mark.parametrize("grad", ["features", "full"])
def test_gradients_of_features_alone_are_captured_without_room(grad, monkeypatch):
    monkeypatch.setattr(reports, "LEAST_CAPACITY", 64)
    layer, camera = layer_of(200, 90, 61, features=20)

    def gradient() -> torch.Tensor:
        leaf = layer.features.clone().requires_grad_()
        carried = with_tensors(layer, {**tensors_of(layer), "features": leaf})
        (splat,) = player.rasterize([carried], camera, grad=grad)
        splat.features.square().sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    wanted = gradient()
    mailbox = player.mailbox()
    mailbox.known[next(size for size in mailbox.known if size[:2] == (90, 61))] = 1
    in_graph(monkeypatch)
    found = gradient()
    assert mailbox.watched[-1].overflowed
    assert (found - wanted).norm() <= 1e-6 * wanted.norm()


def test_sums_in_order_are_not_captured(monkeypatch):
    (layer, *_), camera = scene()
    in_graph(monkeypatch)
    with pytest.raises(RasterizerError, match="cannot capture deterministic gradients"):
        run([layer], camera, backend=KERNELS, deterministic=True)


def test_a_backward_pass_of_a_call_made_before_the_graph_is_not_captured(monkeypatch):
    (layer, *_), camera = scene()
    leaf = layer.features.clone().requires_grad_()
    (splat,) = player.rasterize([replace(layer, features=leaf)], camera, grad="features")
    in_graph(monkeypatch)
    with pytest.raises(RasterizerError, match="the backward pass of a call made before it; capture the call, too"):
        splat.features.sum().backward()
    assert leaf.grad is None
