"""The command that trains an expert, on several ranks: one writer, one decode, and a dead rank's job goes on."""

from __future__ import annotations

import json
import math

import torch

import engine.training.expert.task
import moegs
from common import ranks
from engine.training.expert.saves import load_state, saved_state
from experts.base import DivergedError
from scenes.frames.cache.whole import FrameCache
from tests.engine.expert_scene import arguments, run, write_film
from tests.on_ranks import Ended, ends_of

FLAGS = ("--save_iterations=6", "--test_iterations=6", "--max_points=40")


def state_of(model) -> tuple[int, dict]:
    newest = saved_state(model)
    assert newest is not None
    return newest[0], load_state(newest[1])["course"]


def test_a_job_that_a_rank_ended_goes_on_to_what_one_process_reaches(tmp_path, monkeypatch):
    film, job = write_film(tmp_path), tmp_path / "job"
    same = ("--iterations=12", "--batch=4", "--set", f"rates_times={math.sqrt(2)}")
    assert run(film, tmp_path / "one", "stg", *FLAGS, *same) == 0

    def on_two(*more: str) -> list[Ended]:
        given = ("--iterations=24", f"--cache_path={tmp_path / 'frames'}")
        words = [word for word in arguments(film, job, "stg", *FLAGS, *given, *more) if word != "--quiet"]
        return ends_of(lambda: moegs.main(["train-expert", *words]), is_command=True)

    task = engine.training.expert.task.ExpertTask
    update, decode = task.update, FrameCache._decode

    def failing(self, iteration: int):
        if iteration == 9 and ranks.rank() == 1:
            raise DivergedError("rank 1 has had enough")
        return update(self, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(task, "update", failing)
        patch.setattr(FrameCache, "_decode", lambda self, stale: (print("decodes"), decode(self, stale)))
        first, second = on_two()
    assert first.code == 1 and "error" not in first.said
    assert (second.value, second.said) == (2, "rank 1 of 2 ends the job:\nerror: rank 1 has had enough\n")
    assert first.said.count("decodes") == 1
    assert "2 ranks share the 4 images of an iteration, learning rates times 1.41" in first.said
    assert state_of(job)[0] == 6 and not list(job.glob("*lock"))
    first, second = on_two("--resume")
    assert (first.value, second.value, second.said) == (0, 0, ""), first.said + second.said
    (iteration, found), (_, expected) = state_of(job), state_of(tmp_path / "one")
    assert iteration == 12 and torch.equal(found["random"], expected["random"])
    for name, values in expected["parameters"].items():
        close = torch.isclose(found["parameters"][name], values, atol=1e-3, rtol=1e-3)  # but for rounding
        assert close.float().mean() > 0.9, name
    report = json.loads((job / "train_expert.json").read_text())
    assert [entry["iteration"] for entry in report["history"]] == [6, 12] and report["settings"]["batch"] == 4


def test_a_batch_too_small_for_the_ranks_is_refused(tmp_path):
    film = write_film(tmp_path)
    ended = ends_of(lambda: run(film, tmp_path / "model", "stg", "--batch=1"), is_command=True)
    said = "".join(each.said for each in ended)
    assert said.count("error: --batch is 1: 2 ranks share the images of an iteration; give 2 or more") == 1
    assert not (tmp_path / "model").exists()
