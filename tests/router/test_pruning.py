"""Scores of Gaussians against their definitions, computed the long way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import rasterize

from engine.runs.run import Run, mix_camera
from router import Mixture
from router.layers import gaussians_of, layer_of
from router.mixing import mix_gaussians
from router.pruning import contribution_scores, gate_scores, image_scores
from tests.small_world import small_run

TEMPERATURE, FRAME = 0.7, 1


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = small_run(tmp_path)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in run.router.features.parameters():
            parameter.normal_(generator=generator)
    run.router.temperature = run.router.eval_temperature = TEMPERATURE
    return run


def test_gate_scores_are_the_lengths_of_each_gates_own_derivative(run: Run) -> None:
    camera = run.scene.views[1].camera
    scores = gate_scores(
        run.router,
        lambda: mix_camera(run, camera, FRAME, camera_number=1, grad="features"),
        temperature=TEMPERATURE,
    )
    for index, expert in enumerate(run.experts):
        weights = [
            run.router.features(other, each.rows(FRAME), run.time(FRAME)).detach().requires_grad_(other == index)
            for other, each in enumerate(run.experts)
        ]
        layers = [
            layer_of(gaussians_of(each, camera, FRAME, camera_number=1), each, features, tile_rule=None, depth=None)
            for each, features in zip(run.experts, weights, strict=True)
        ]
        splats = rasterize(layers, camera, grad="features", backend="torch")
        rays = run.router.rays.of(camera, dtype=torch.float32, device=run.device)
        logits = run.router.head([splat.features for splat in splats], rays)
        torch.softmax(logits / TEMPERATURE, dim=0)[index].sum().backward()
        assert scores[index].shape == (len(range(*expert.rows(FRAME).indices(expert.num_gaussians))),)
        torch.testing.assert_close(scores[index], weights[index].grad.norm(dim=1), rtol=1e-3, atol=1e-5)


def test_contributions_are_weights_of_colours_in_the_blend(run: Run) -> None:
    camera = run.scene.views[1].camera
    mixture = mix_camera(run, camera, FRAME, camera_number=1, depths=True)
    gaussians = [gaussians_of(each, camera, FRAME, camera_number=1) for each in run.experts]
    scores = contribution_scores(run.experts, gaussians, camera, gates=mixture.gates.detach(), backend="torch")
    for score, gate, alpha in zip(scores, mixture.gates, mixture.alphas, strict=True):
        assert (score >= 0).all()
        torch.testing.assert_close(score.sum(), (gate * alpha).sum(), rtol=1e-4, atol=1e-4)
    colours = gaussians[0].colours
    brighter = torch.zeros_like(colours)
    brighter[7] = 1.0
    changed = mix_with(run, camera, brighter)
    torch.testing.assert_close(scores[0][7], (changed - mixture.image.detach()).mean(dim=0).sum(), rtol=1e-3, atol=1e-3)


def mix_with(run: Run, camera, change: torch.Tensor) -> torch.Tensor:
    """The blended image once the first expert's colours have changed."""
    with torch.no_grad():
        run.experts[0].colours += change
        image = mix_camera(run, camera, FRAME, camera_number=1).image.detach()
        run.experts[0].colours -= change
    return image


def test_image_scores_are_the_squared_derivatives_by_opacity_times_the_opacity(run: Run) -> None:
    camera, row, step, draws = run.scene.views[1].camera, 7, 0.02, 400
    gaussians = [gaussians_of(each, camera, FRAME, camera_number=1) for each in run.experts]
    opacity = gaussians[0].opacities[row].clone()
    assert step < opacity < 1 - step

    def render(shown) -> Mixture:
        return mix_gaussians(
            run.router,
            run.experts,
            shown,
            camera,
            frame=FRAME,
            time=run.time(FRAME),
            temperature=TEMPERATURE,
            grad="full",
        )

    def with_opacity(value: torch.Tensor) -> torch.Tensor:
        opacities = gaussians[0].opacities.clone()
        opacities[row] = value
        return render([replace(gaussians[0], opacities=opacities), *gaussians[1:]]).image.detach()

    slope = (with_opacity(opacity + step) - with_opacity(opacity - step)) / (2 * step)
    exact = (opacity * slope).square().sum()
    generator = torch.Generator().manual_seed(5)
    scores = [image_scores(gaussians, render, generator=generator) for _ in range(draws)]
    assert all((each >= 0).all() and len(each) == one.count for each, one in zip(scores[0], gaussians, strict=True))
    mean = torch.stack([each[0][row] for each in scores]).mean()
    torch.testing.assert_close(mean, exact, rtol=4 * (2 / draws) ** 0.5, atol=0)


def test_gradients_reach_the_experts_only_where_they_are_asked_for(run: Run) -> None:
    camera, colours = run.scene.views[1].camera, run.experts[0].colours
    colours.requires_grad_(True)
    run.router.requires_grad_(True)
    for grad in ("features", "full"):
        mix_camera(run, camera, FRAME, camera_number=1, grad=grad).image.sum().backward()
        assert (colours.grad is not None) == (grad == "full")
