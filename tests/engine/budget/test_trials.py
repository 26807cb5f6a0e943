"""Trials of experts and of a mixture on a film of two cameras and six frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engine.budget.trials.experts
import engine.budget.trials.mixtures
import engine.training.expert.opening
from engine.budget.measured import ExpertTrial
from engine.budget.trials.experts import opening_on_frames, resized, try_expert
from engine.budget.trials.mixtures import shown_frames, try_mixture
from engine.commands.train_expert import open_expert_scene
from engine.runs.device import CPU, ComputeDevice
from engine.runs.trial import BlackFrames
from engine.settings.training.run import AnyRunConfig
from engine.settings.training.train_expert_reading import read_expert_settings
from experts import EXPERTS, Expert, ExpertSpec
from scenes import Scene
from scenes.points.cloud import PointCloud
from scenes.points.start import load_start_points
from tests.engine.expert_scene import arguments, run, write_film

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
    for module in (engine.budget.trials.experts, engine.budget.trials.mixtures):
        monkeypatch.setattr(module, "TRIAL_SECONDS", 0.01)
    stg, segment, scene = tried(film, "STG", "--segments=3")
    assert (stg.models, stg.fast, stg.published, stg.pixels) == (2, 20000, 30000, 40 * 32)
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


class Machine:
    """A machine on which only starts of trainings take time, 100 s with black images, and loads of start points, 1 s.

    On the scene's frames a start that looks at them takes 300 s.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        begin, load = engine.training.expert.opening.begin_training, load_start_points
        patch.setattr(engine.budget.trials.experts, "perf_counter", lambda: self.seconds)

        def begun(spec: ExpertSpec, recipe: Any, start: Any) -> Any:
            is_black = isinstance(start.views._images._scene.frames, BlackFrames)
            self.seconds += 300.0 if spec.name == "FreeTime" and not is_black else 100.0
            return begin(spec, recipe, start)

        def loaded(*arguments: Any, **options: Any) -> PointCloud:
            self.seconds += 1.0
            return load(*arguments, **options)

        patch.setattr(engine.training.expert.opening, "begin_training", begun)
        for module in (engine.training.expert.opening, engine.budget.trials.experts):
            patch.setattr(module, "load_start_points", loaded)


@pytest.mark.parametrize("name", ["FreeTime", "Ex4DGS", "STG", "STG in segments", "E-D3DGS", "4DGaussians"])
def test_a_command_starts_as_often_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    film = write_film(tmp_path)
    places = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (50, 3)).astype(np.float32)
    np.savez(film / "known_points.npz", xyz=places, rgb=np.full((50, 3), 0.5, np.float32))
    segments = ["--segments=3"] if name == "STG in segments" else []
    spec, machine = EXPERTS[name.split()[0]], Machine(monkeypatch)
    monkeypatch.setattr(engine.budget.trials.experts, "TRIAL_SECONDS", 0.01)
    config = read_expert_settings(arguments(film, tmp_path / "none", spec.key, *segments), prog="", description="")
    scene = open_expert_scene(config, tmp_path / "none")
    trial, _ = try_expert(config, spec, scene, COMPUTE, gpu_bytes=None)
    assert (trial.opening_on_black is not None) == (name == "FreeTime")
    scene.frames.prepare(range(len(scene.views)))
    if trial.opening_on_black is not None:
        trial = trial.opened_in(opening_on_frames(config, spec, scene, COMPUTE))
    machine.seconds = 0.0
    assert run(film, tmp_path / "model", spec.key, "--iterations=1", *segments) == 0
    assert trial.models * trial.overhead == machine.seconds
    assert machine.seconds == {"FreeTime": 301.0, "STG in segments": 402.0}.get(name, 101.0)


def test_points_are_thinned_or_repeated_apart() -> None:
    places = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    cloud = PointCloud(positions=places, colours=torch.rand(50, 3), frames=torch.arange(50.0), note="")
    more = resized(cloud, 120, radius=1.0)
    assert more.count == 120 and torch.equal(more.positions[:50], places)
    assert more.frames is not None and torch.equal(more.frames[50:100], cloud.frames)
    assert len(more.positions.unique(dim=0)) == 120 and (more.positions[50:100] - places).norm(dim=1).max() < 0.1
    even = PointCloud(positions=places, colours=torch.rand(50, 3), frames=None, note="")
    assert 1 <= resized(even, 20, radius=1.0).count <= 20
