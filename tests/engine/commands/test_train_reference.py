"""The training script on real checkpoints: four experts' files in, a router that renders again out."""

from __future__ import annotations

import pytest
import torch

from engine.commands import train
from engine.runs.run import mix_view
from engine.runs.saved.loading import load_run
from router import ENSEMBLES, folder_flags

# Uniform mean and best expert on cam00, dB, as the references' own renderers gave them (frame: values).
UNIFORM = {0: 22.81, 75: 22.39, 150: 23.34, 299: 22.50}
BEST = {0: 22.74, 75: 22.59, 150: 23.21, 299: 22.71}


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * (image.clamp(0, 1) - truth).square().mean().log10().item()


def test_four_experts_of_the_tiny_kitchen(shared, tmp_path):
    scene, models = shared("data/kitchen_tiny"), shared("reference/experts")
    flags = folder_flags(ENSEMBLES["E4"])
    arguments = [f"--{flag}={models / name / 'kitchen_tiny'}" for name, flag in flags.items()]
    arguments += [
        f"--source_path={scene}",
        f"--cache_path={tmp_path / 'cache'}",
        f"--save_path={tmp_path}",
        "--near=1.13",
        "--coverage_guard=off",  # the known numbers are of the experts' own backgrounds
        "--iterations=2",
        "--test_iterations",
    ]
    assert train.main("E4", [*arguments, "--featuret_lr=0.5", "--quiet"]) == 0
    run = load_run(tmp_path, needed="test")
    assert [expert.num_gaussians for expert in run.experts] == [7996, 5995, 11555, 7000]
    for frame in UNIFORM:
        mixture = mix_view(run, run.scene.test[0], frame)
        truth = torch.tensor(run.scene.frames.read(run.scene.test[0], frame)).permute(2, 0, 1) / 255
        assert psnr(mixture.images.mean(0), truth) == pytest.approx(UNIFORM[frame], abs=0.02)
        assert max(psnr(image, truth) for image in mixture.images) == pytest.approx(BEST[frame], abs=0.02)
