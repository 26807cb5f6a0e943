"""A film of two cameras and six frames on disk, 40 x 32 pixels, and the arguments of trainings on it."""

from __future__ import annotations

from pathlib import Path

import torch

from engine.commands import train_expert
from experts import TRAINABLE, LoadOptions, load_expert
from tests.scenes.scene_folders import Rig, write_n3v_scene

FRAMES = 6
NAMES = {spec.key: name for name, spec in TRAINABLE.items()}


class Killed(BaseException):
    """Stands for a process that ends without another word."""


def kill(*args: object, **options: object) -> None:
    """Ends a command in the place of what it would call."""
    raise Killed


def write_film(folder: Path) -> Path:
    """The scene's folder."""
    write_n3v_scene(folder / "film", Rig(frames=FRAMES, width=40, height=32, focal=40.0))
    return folder / "film"


def arguments(film: Path, model: Path, expert: str, *more: str) -> list[str]:
    """A training of a few seconds that densifies and prunes; later arguments count."""
    shared = ["--quiet", f"--source_path={film}", f"--cache_path={film.parent / 'cache'}", f"--model_path={model}"]
    return [expert, *shared, "--iterations=30", "--max_points=60", "--test_iterations", "--test_frames=1", *more]


def run(film: Path, model: Path, expert: str, *more: str) -> int:
    """The exit code of a training."""
    from engine.settings.parsing.command_line import exit_code

    argv = arguments(film, model, expert, *more)
    with exit_code(argv) as code:
        code.value = train_expert.command(argv, prog="moegs.py train-expert", description="")
    return code.value


def reloaded(expert: str, model: Path) -> dict[str, torch.Tensor]:
    """The tensors of a saved expert, as stage 2 reads them."""
    return dict(load_expert(NAMES[expert], model, LoadOptions(num_frames=FRAMES)).state_dict())
