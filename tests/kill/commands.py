"""The commands that are killed: small ones, whose results are the same whenever they run to their end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from engine.commands import render, train
from tests.engine.expert_scene import run, write_film
from tests.small_world import use_small_world

SAVES = ("--save_iterations", "4", "8", "--test_iterations", "4", "8", "--keep_checkpoints", "1")


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, how it is repeated, and the folder of its results; `prepare` fills that folder again."""

    run: Callable[[], int]
    again: Callable[[], int]
    results: Path
    prepare: Callable[[], None] = _nothing


def train_expert(folder: Path) -> Command:
    """Training of an expert, continued with --resume."""
    film, model = write_film(folder), folder / "model"
    given = (*SAVES, "--iterations=12")
    return Command(
        run=lambda: run(film, model, "stg", *given),
        again=lambda: run(film, model, "stg", *given, "--resume"),
        results=model,
    )


def train_router(folder: Path) -> Command:
    """Training of a router, continued with --resume."""
    given = [*small_world(folder), f"--save_path={folder / 'out'}", "--iterations=12", *SAVES, "--test_frames=1"]
    return Command(
        run=lambda: train.main("E3", given),
        again=lambda: train.main("E3", [*given, "--resume"]),
        results=folder / "out",
    )


def render_run(folder: Path) -> Command:
    """Rendering of a router's run, repeated."""
    trained, out = folder / "trained", folder / "out"
    given = [*small_world(folder), f"--save_path={trained}", "--iterations=2", "--test_iterations"]
    if train.main("E3", given) != 0:
        raise SystemExit("the small world cannot be trained")
    shown = ["--quiet", f"--save_path={out}", "--save_img"]

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(trained, out)

    prepare()
    return Command(
        run=lambda: render.main("E3", shown), again=lambda: render.main("E3", shown), results=out, prepare=prepare
    )


def small_world(folder: Path) -> list[str]:
    """The small world in the place of files, for as long as this process lives; its flags."""
    return use_small_world(pytest.MonkeyPatch(), folder)


COMMANDS: dict[str, Callable[[Path], Command]] = {
    "train-expert": train_expert,
    "train": train_router,
    "render": render_run,
}
torch.set_num_threads(1)  # a forked child has the thread that forked it alone
