"""Paths of the CUDA kernels that images of one layer do not take, on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import RasterizerError, RasterSettings
from moegs_rasterizer.cuda import autograd, passes, reports

from ..backends import KERNELS, one_thread, rendered
from ..random_layers import PLANES, assert_same_bits, gradients_of, layer_of, run, tensors_of, with_tensors
from . import player

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

RAGGED = (  # Gaussians, colours, features, settings
    (150, 3, 3, RasterSettings()),
    (0, 3, 3, RasterSettings()),
    (90, 1, 0, RasterSettings(tile_rule="inria", depth="median")),
    (120, 9, 3, RasterSettings(low_pass=0.1, compensate=True, depth="mean")),
    (60, 20, 20, RasterSettings()),
    (70, 0, 0, RasterSettings()),
    (40, 5, 12, RasterSettings(depth="mean")),
)


def ragged():
    made = [
        layer_of(max(count, 1), 50, 37, seed=seed, colours=colours, features=features, settings=settings)
        for seed, (count, colours, features, settings) in enumerate(RAGGED)
    ]
    layers = [layer for layer, _ in made]
    empty = {name: tensor if name == "background" else tensor[:0] for name, tensor in tensors_of(layers[1]).items()}
    layers[1] = with_tensors(layers[1], empty)
    return layers, made[0][1]


def test_ragged_layers_together_equal_layers_apart():
    layers, camera = ragged()
    together = run(layers, camera, backend=KERNELS, deterministic=True)
    for index, layer in enumerate(layers):
        alone = run([layer], camera, backend=KERNELS, deterministic=True, first=index)
        assert_same_bits(together, alone, index, 0)
        wanted = run([layer], camera, backend="cpu", first=index)
        for name in PLANES:
            value = getattr(wanted.splats[0], name)
            if value is not None and value.numel():
                error = (getattr(alone.splats[0], name) - value).detach().abs()
                assert (error <= (5e-5 if name == "depth" else 1e-5)).double().mean() >= 0.999, (index, name)
        for name, gradient in gradients_of(wanted, 0).items():
            assert (gradients_of(alone, 0)[name] - gradient).norm() <= 2e-5 * gradient.norm() + 1e-9, (index, name)


def test_more_layers_than_one_pass_takes():
    layers, camera = ragged()
    many = (layers * 3)[:17]
    for one, other in zip(rendered(many, camera, KERNELS), rendered(layers, camera, KERNELS) * 3, strict=False):
        assert torch.equal(one.colour, other.colour)
        assert torch.equal(one.depth, other.depth)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("rule", ["exact", "inria"])
def test_lists_without_room(rule, deterministic, monkeypatch):
    """More instances than the memory that was guessed: the same bits forward, and the right gradients."""
    monkeypatch.setattr(reports, "LEAST_CAPACITY", 64)
    layer, camera = layer_of(150, 82, 61, settings=RasterSettings(tile_rule=rule))
    faint = replace(layer, gaussians=replace(layer.gaussians, opacities=0.2 * layer.gaussians.opacities))
    mailbox = player.mailbox()
    roomy = run([faint], camera, backend=KERNELS, deterministic=True)
    size, instances = next((size, count) for size, count in mailbox.known.items() if size[:2] == (82, 61))
    assert instances > 64
    mailbox.known[size] = 1
    short = run([faint], camera, backend=KERNELS, deterministic=deterministic)
    for name in PLANES:
        assert torch.equal(getattr(short.splats[0], name), getattr(roomy.splats[0], name)), name
    for name, gradient in gradients_of(roomy, 0).items():
        assert (gradients_of(short, 0)[name] - gradient).norm() <= 1e-6 * gradient.norm(), name


@pytest.mark.parametrize("features", [3, 20])
def test_features_alone_get_the_gradient_of_full(features):
    layer, camera = layer_of(400, 70, 53, features=features)
    full = run([layer], camera, backend=KERNELS, deterministic=True)
    for deterministic in (True, False):
        leaf = layer.features.clone().requires_grad_()
        carried = with_tensors(layer, {**tensors_of(layer), "features": leaf})
        splat = rendered([carried], camera, KERNELS, grad="features", deterministic=deterministic)[0]
        (splat.features * full.weights[0]["features"]).sum().backward()
        wanted = gradients_of(full, 0)["features"]
        assert (leaf.grad - wanted).norm() <= (0 if deterministic else 1e-6) * wanted.norm()


@pytest.mark.parametrize("name", ["means", "scales", "quats", "opacities", "sh", "features", "background"])
def test_bad_values_are_seen(name):
    layer, camera = layer_of(300, 50, 37, sh_degree=2)
    tensors = {key: tensor.clone() for key, tensor in tensors_of(layer).items()}
    row = 4 if name == "background" else 217
    tensors[name][row] = float("nan")
    splats = rendered([layer, with_tensors(layer, tensors)], camera, KERNELS)
    assert splats[0].colour.isfinite().all()
    assert splats[1].colour.isnan().all()
    with pytest.raises(RasterizerError, match=rf"layer 1: {name} .*row {row}\b"):
        player.check()
    assert rendered([layer], camera, KERNELS)[0].colour.isfinite().all()


@pytest.mark.parametrize("name", ["features", "colours", "means"])
def test_bad_values_are_told_once_and_not_again_for_the_gradients_that_they_make(name, monkeypatch):
    layer, camera = layer_of(60, 50, 37, colours=4)
    tensors = {key: tensor.clone() for key, tensor in tensors_of(layer).items()}
    tensors[name][7] = float("nan")
    given = with_tensors(layer, {key: one.requires_grad_() for key, one in tensors.items()})
    splat = rendered([given], camera, KERNELS, grad="full")[0]
    monkeypatch.setattr(reports.Mailbox, "instances", reports.Mailbox.instances_so_far)
    monkeypatch.setattr(reports.Mailbox, "instances_so_far", lambda *_: None)  # the backward pass is launched early
    with pytest.raises(RasterizerError, match=rf"^layer 0: {name} has NaN or infinite values, first at row 7"):
        splat.features.square().sum().backward()  # of images that are NaN
    player.check()


@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_backward_pass_is_launched_before_its_forward_pass_has_reported(room, deterministic, monkeypatch):
    monkeypatch.setattr(reports, "LEAST_CAPACITY", 64)
    layer, camera = layer_of(150, 83, 61)
    wanted = run([layer], camera, backend=KERNELS, deterministic=True)
    mailbox = player.mailbox()
    size = next(size for size in mailbox.known if size[:2] == (83, 61))
    if not room:
        mailbox.known[size] = 1
    operators, launched = passes.operators(), []

    def blend_backward(*given: object) -> object:
        launched.append("backward pass")
        return operators.blend_backward(*given)

    def reported(mailbox: reports.Mailbox, report: reports.Report) -> int:
        launched.append("report")
        instances = so_far(mailbox, report)
        assert instances is not None
        return instances

    so_far = reports.Mailbox.instances_so_far
    monkeypatch.setattr(autograd, "operators", lambda: replace(operators, blend_backward=blend_backward))
    monkeypatch.setattr(reports.Mailbox, "instances", reported)
    monkeypatch.setattr(reports.Mailbox, "instances_so_far", lambda *_: None)
    found = run([layer], camera, backend=KERNELS, deterministic=deterministic)
    assert launched == ["backward pass", "report"] + ([] if room else ["backward pass"])
    for name, gradient in gradients_of(wanted, 0).items():
        assert (gradients_of(found, 0)[name] - gradient).norm() <= (0 if deterministic else 1e-6) * gradient.norm(), (
            name
        )
