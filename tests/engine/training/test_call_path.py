"""A newcomer reaches the loss from `main` in a few functions."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import engine.commands.train_expert
import engine.training.router.loss
import experts.training.trainer
import moegs
from engine.commands import train
from tests.engine.expert_scene import arguments, write_film
from tests.small_world import use_small_world

ROOT = Path(__file__).resolve().parents[3]


class Reached(Exception):
    """Carries the names of our functions between main and the loss, outermost first."""


def stop_at_the_loss(*args: object, **options: object) -> None:
    ours = [frame for frame in inspect.stack()[1:] if Path(frame.filename).is_relative_to(ROOT)]
    others = {"tests", "site-packages"}  # a virtual environment may lie in the repository's folder
    names = [frame.function for frame in ours if not others & set(Path(frame.filename).parts)]
    raise Reached(names[::-1])


def test_stage_2_takes_six_frames_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.training.router.loss, "photometric", stop_at_the_loss)
    given = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}", "--iterations", "1"]
    with pytest.raises(Reached) as reached:
        train.main("E3", given)
    assert reached.value.args[0] == ["main", "train_router", "train", "losses", "router_loss"]  # and the loss itself


def test_stage_1_takes_seven_frames_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(experts.training.trainer, "photometric_sum", stop_at_the_loss)
    monkeypatch.setattr(engine.commands.train_expert, "must_decode", lambda scene, views: False)  # so none is tried out
    film = write_film(tmp_path)
    with pytest.raises(Reached) as reached:
        moegs.main(["train-expert", *arguments(film, tmp_path / "model", "stg")])
    assert reached.value.args[0] == ["main", "command", "train", "losses", "image_loss"]  # and the loss itself
