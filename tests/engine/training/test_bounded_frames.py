"""Trainings on a disk with little room: their models, the folder's size, and going on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

import experts.training.stretches
from engine.training.expert.task import ExpertTask
from tests.engine.commands.test_train_expert import FASTER
from tests.engine.expert_scene import reloaded, run, write_film

SMALL = "--cache_gb=0.00006"  # chunks of one frame, and room for four of the clip's six
KINDS = ("ex4dgs", "ed3dgs")  # which choose images by how far they are, and by errors


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return write_film(tmp_path_factory.mktemp("footage"))


@pytest.fixture(autouse=True)
def short_visits(monkeypatch) -> None:
    monkeypatch.setattr(experts.training.stretches, "VISIT", 6)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("expert", KINDS)
def test_a_training_goes_on_to_the_same_bits(film, tmp_path, monkeypatch, expert):
    settings = (SMALL, f"--cache_path={tmp_path / 'cache'}", "--set", *FASTER[expert])
    assert run(film, tmp_path / "whole", expert, *settings) == 0
    sizes = [path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert 30_000 < sum(sizes) <= 60_000
    real = ExpertTask.evaluate

    def interrupts(*args, **options):
        monkeypatch.setattr(ExpertTask, "evaluate", real)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ExpertTask, "evaluate", interrupts)
    assert run(film, tmp_path / "parts", expert, "--test_iterations=13", *settings) == 130
    assert run(film, tmp_path / "parts", expert, "--resume") == 0
    assert same(*(reloaded(expert, tmp_path / name) for name in ("whole", "parts")))


def test_where_all_frames_have_room_nothing_changes(film, tmp_path):
    for name, limit in (("no_limit", ()), ("enough", ("--cache_gb=0.001",)), ("small", (SMALL,))):
        assert run(film, tmp_path / name, "stg", f"--cache_path={tmp_path / name / 'cache'}", *limit) == 0
    models = {name: reloaded("stg", tmp_path / name) for name in ("no_limit", "enough", "small")}
    assert same(models["no_limit"], models["enough"])
    assert not same(models["no_limit"], models["small"])  # its images came in another order


def test_another_order_is_refused_by_resume(film, tmp_path, capsys):
    model, cache = tmp_path / "model", f"--cache_path={tmp_path / 'cache'}"
    assert run(film, model, "stg", SMALL, cache, "--iterations=6") == 0
    assert run(film, model, "stg", "--resume", "--iterations=6", "--cache_gb=0.001", cache) != 0
    assert "saved with other settings (stretches" in capsys.readouterr().err
