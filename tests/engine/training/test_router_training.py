"""The router learns where each expert is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.errors import ConfigError
from engine.runs.run import Run, mix_view
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.loop import Schedule, train
from engine.training.progress import Reading
from engine.training.router.loss import router_loss
from engine.training.router.schedule import make_optimiser
from engine.training.router.task import RouterTask
from losses import concentration
from tests.small_world import FRAMES, HEIGHT, WIDTH, Images, small_run


def psnr(image: torch.Tensor, target: torch.Tensor) -> float:
    return -10 * (image - target).square().mean().log10().item()


class Watched(RouterTask):
    """A router's training that keeps what it read."""

    def __init__(self, run: Run, training: TrainingConfig) -> None:
        super().__init__(run, make_optimiser(run.router, training), RunConfig(training=training))
        self.readings: list[Reading] = []

    def update(self, iteration):
        readings = super().update(iteration)
        self.readings += readings
        return readings


def train_alone(run: Run, training: TrainingConfig, **options) -> list[Reading]:
    """Trains a run's router without saving or evaluating; returns the numbers that were read."""
    task = Watched(run, training)
    schedule = Schedule(start=0, last=training.iterations, saves=(), evaluations=())
    assert train(task, schedule, quiet=True, **options)
    return task.readings


def divided_world(root) -> Run:
    """Images whose left half is the first expert's and whose right half is the third's."""
    run = small_run(root)
    pixels = np.zeros((3, FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for view in range(3):
        for frame in range(FRAMES):
            images = mix_view(run, view, frame).images
            target = torch.cat([images[0, :, :, : WIDTH // 2], images[2, :, :, WIDTH // 2 :]], dim=2)
            pixels[view, frame] = (target * 255).round().byte().permute(1, 2, 0).numpy()
    return replace(run, scene=replace(run.scene, frames=Images(pixels)))


def test_training_beats_every_expert_and_their_mean_on_the_held_out_camera(tmp_path):
    torch.manual_seed(0)
    run = divided_world(tmp_path)
    training = TrainingConfig(iterations=80, featuret_lr=0.5, feature_lr=0.05, rgb_lr=0.05)
    readings = train_alone(run, training)
    assert [reading.iteration for reading in readings] == list(range(1, 81))
    losses = [reading.loss for reading in readings]
    assert np.mean(losses[-8:]) < 0.5 * np.mean(losses[:8])
    mixture, target = mix_view(run, 0, 2), torch.from_numpy(run.scene.frames.read(0, 2)).permute(2, 0, 1) / 255
    rivals = [psnr(image, target) for image in (*mixture.images, mixture.images.mean(0))]
    assert psnr(mixture.image, target) > max(rivals) + 3
    wanted = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    wanted[:, WIDTH // 2 :] = 2
    assert (mixture.gates.argmax(0) == wanted).float().mean() > 0.7


def test_the_weight_of_unequal_gates_makes_them_more_equal(tmp_path):
    found = []
    for weight in (0.0, 0.01, 1.0):
        torch.manual_seed(0)
        run = divided_world(tmp_path)
        training = TrainingConfig(iterations=40, featuret_lr=0.5, feature_lr=0.05, rgb_lr=0.05, lambda_gates=weight)
        train_alone(run, training)
        found.append(concentration(mix_view(run, 0, 2).gates).item())
    assert found[0] > found[1] > found[2] and found[2] < 0.1 * found[0]


def test_lambda_lpips_adds_its_share_of_the_networks_distance(tmp_path):
    run = divided_world(tmp_path)
    mixture, target = mix_view(run, 0, 2), torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))

    def lpips(image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (image - other).square().mean()

    plain, with_it = (
        float(router_loss(mixture, target, TrainingConfig(lambda_lpips=0.3), lpips=each)) for each in (None, lpips)
    )
    assert with_it - plain == pytest.approx(0.3 * 4 * float((mixture.image - target).square().mean()), rel=1e-4)


def test_lambda_lpips_is_refused_where_there_is_no_network_for_it(tmp_path):
    with pytest.raises(ConfigError, match=r"the loss has LPIPS \(--lambda_lpips\), but .*leave out --lambda_lpips"):
        Watched(divided_world(tmp_path), TrainingConfig(lambda_lpips=0.1))
