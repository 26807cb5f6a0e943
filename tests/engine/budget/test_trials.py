"""Trials of experts and of a mixture on a film of two cameras and six frames."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import engine.budget.trials
from engine.budget.measured import ExpertTrial
from engine.budget.trials import resized, shown_frames, try_expert, try_mixture
from engine.commands.train_expert import open_expert_scene
from engine.runs.device import CPU, ComputeDevice
from engine.settings.training.run import AnyRunConfig
from engine.settings.training.train_expert import read_expert_settings
from experts import EXPERTS, Expert
from scenes import Scene
from scenes.points.cloud import PointCloud
from tests.engine.expert_scene import arguments, write_film

COMPUTE = ComputeDevice(device=CPU, backend="auto")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("footage"))


def tried(film: Path, name: str, *more: str) -> tuple[ExpertTrial, Expert, Scene]:
    spec, model = EXPERTS[name], film.parent / "model"
    config = read_expert_settings(arguments(film, model, spec.key, "--max_points=400", *more), prog="", description="")
    scene = open_expert_scene(config, model)
    return *try_expert(config, spec, scene, COMPUTE, gpu_bytes=None), scene


def test_experts_and_their_mixture_are_tried_without_a_frame(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.budget.trials, "TRIAL_SECONDS", 0.01)
    stg, segment, scene = tried(film, "STG", "--segments=3")
    assert (stg.models, stg.fast, stg.published, stg.pixels) == (2, 12000, 30000, 40 * 32)
    assert stg.grows_until == 9000 / 30000
    other, model, _ = tried(film, "FreeTime")
    assert (other.models, other.grows_until) == (1, 0.0)
    for trial in (stg, other):
        assert trial.iteration.at(500) > 0 and trial.overhead > 0 and trial.memory is None
        assert 40 < trial.files.each < 2000  # bytes of a Gaussian
    assert (shown_frames(segment, 6), shown_frames(model, 6)) == (3, 6)
    mixed = try_mixture([model, segment], AnyRunConfig(), scene, COMPUTE)
    assert mixed.gaussians == model.num_gaussians + segment.num_gaussians
    assert min(mixed.iteration, mixed.frame, mixed.opening, mixed.head_bytes) > 0
    assert scene.frames.on_disk(range(3)).cached_bytes == 0 and not (film.parent / "model").exists()


def test_points_are_thinned_or_repeated_apart() -> None:
    places = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    cloud = PointCloud(positions=places, colours=torch.rand(50, 3), frames=torch.arange(50.0), note="")
    more = resized(cloud, 120, radius=1.0)
    assert more.count == 120 and torch.equal(more.positions[:50], places)
    assert more.frames is not None and torch.equal(more.frames[50:100], cloud.frames)
    assert len(more.positions.unique(dim=0)) == 120 and (more.positions[50:100] - places).norm(dim=1).max() < 0.1
    even = PointCloud(positions=places, colours=torch.rand(50, 3), frames=None, note="")
    assert 1 <= resized(even, 20, radius=1.0).count <= 20
