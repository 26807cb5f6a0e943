"""Networks that learn in TF32: it holds for their passes forward and back, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.trained_scenes import trained_like_scene
from experts import EXPERTS, TRAINABLE
from experts.canonical import heads_fused
from experts.canonical.precision import networks_in
from experts.training.start import TrainingStart
from tests.experts.training.small_views import small_start, small_views

NAMES = ("E-D3DGS", "4DGaussians")
NETWORKS = pytest.mark.parametrize("name", NAMES)


def now() -> bool:
    return torch.backends.cuda.matmul.allow_tf32


def model(name: str):
    torch.manual_seed(0)
    gaussians, _ = trained_like_scene(count=3000, width=32, height=24, seed=1)
    return EXPERTS[name].random_model(gaussians)


def trainer(name: str, networks: str):
    training = TRAINABLE[name].training
    preset = training.presets["n3v"]
    recipe = replace(preset.recipe, networks=networks)
    if name == "4DGaussians":
        recipe = replace(recipe, coarse_iterations=0)
    views = small_views()
    start = TrainingStart(points=small_start(every=9), views=views, extent=1.0, network=preset.network, seed=0)
    return training.trainer(training.start_model(recipe, start), recipe, extent=1.0, views=views, seed=0)


@NETWORKS
@pytest.mark.parametrize("networks", ["float32", "tf32"])
def test_the_passes_of_a_training_have_the_recipes_precision(name, networks, monkeypatch):
    seen = {"forward": [], "backward": [], "image": []}
    forward, through = heads_fused._by_head, heads_fused.through_relu_

    def by_head(*arguments):
        seen["forward"].append(now())
        return forward(*arguments)

    def through_relu(*arguments):
        seen["backward"].append(now())
        return through(*arguments)

    run = trainer(name, networks)
    image_loss = run.image_loss

    def loss(*arguments):
        seen["image"].append(now())
        return image_loss(*arguments)

    monkeypatch.setattr(heads_fused, "_by_head", by_head)
    monkeypatch.setattr(heads_fused, "through_relu_", through_relu)
    monkeypatch.setattr(run, "image_loss", loss)
    for part in run.losses(1):
        part.backward()
    wanted = {networks == "tf32"}
    assert set(seen["forward"]) == set(seen["backward"]) == wanted and set(seen["image"]) == {False}
    assert not now()
    seen["forward"].clear()
    with torch.no_grad():
        run.model.at(0)  # as it is scored and rendered
    assert set(seen["forward"]) == {False}


@NETWORKS
def test_only_short_trainings_are_in_tf32(name):
    for preset, row in TRAINABLE[name].training.presets.items():
        assert row.recipe.networks == ("tf32" if preset.startswith("fast_") else "float32"), preset


@pytest.mark.cuda
@NETWORKS
def test_gradients_in_tf32_are_near_and_repeat(name):
    expert = model(name).cuda()
    weights = torch.randn(3000, 3, device="cuda", generator=torch.Generator("cuda").manual_seed(2))

    def gradients(precision: str) -> dict[str, torch.Tensor]:
        expert.zero_grad()
        with networks_in(precision):
            means = expert.at(2).means
        (means * weights).sum().backward()
        named = expert.deformation.named_parameters()
        return {key: value.grad.clone() for key, value in named if value.grad is not None and "pos_deform" in key}

    exact, rough, again = gradients("float32"), gradients("tf32"), gradients("tf32")
    for key, gradient in exact.items():
        assert torch.equal(rough[key], again[key]), key
        error = (rough[key] - gradient).norm() / gradient.norm()
        assert error < 0.02, (key, error)
    assert any(not torch.equal(rough[key], gradient) for key, gradient in exact.items())
