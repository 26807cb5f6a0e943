"""The commands that are killed: small ones, whose results are the same whenever they run to their end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch

import engine.commands.prepare
import moegs
from engine.commands import render, train
from engine.settings.parsing.command_line import exit_code
from scenes.layouts import PREPARATIONS
from scenes.preparation.sfm.models import PYCOLMAP
from tests.engine.expert_scene import run, write_film
from tests.scenes.preparation.stand_in import StandIn
from tests.scenes.scene_folders import Rig, write_n3v_scene
from tests.small_world import use_small_world

SAVES = ("--save_iterations", "4", "8", "--test_iterations", "4", "8", "--keep_checkpoints", "1")


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, how it is repeated, and the folder of its results; `prepare` fills that folder again.

    What stands in for files, where something does, is patched until the next command.
    """

    run: Callable[[], int]
    again: Callable[[], int]
    results: Path
    prepare: Callable[[], None] = _nothing


def train_expert(folder: Path, _: pytest.MonkeyPatch) -> Command:
    """Training of an expert, continued with --resume."""
    film, model = write_film(folder), folder / "model"
    given = (*SAVES, "--iterations=12")
    return Command(
        run=lambda: run(film, model, "stg", *given),
        again=lambda: run(film, model, "stg", *given, "--resume"),
        results=model,
    )


def train_router(folder: Path, patch: pytest.MonkeyPatch) -> Command:
    """Training of a router, continued with --resume."""
    given = [
        *use_small_world(patch, folder),
        f"--save_path={folder / 'out'}",
        "--iterations=12",
        *SAVES,
        "--test_frames=1",
    ]
    return Command(
        run=lambda: train.main("E3", given),
        again=lambda: train.main("E3", [*given, "--resume"]),
        results=folder / "out",
    )


def render_run(folder: Path, patch: pytest.MonkeyPatch) -> Command:
    """Rendering of a router's run, repeated."""
    trained, out = folder / "trained", folder / "out"
    given = [*use_small_world(patch, folder), f"--save_path={trained}", "--iterations=2", "--test_iterations"]
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


def prepare_scene(folder: Path, patch: pytest.MonkeyPatch) -> Command:
    """Preparation of a scene, repeated; structure from motion is stood in for."""
    given, scene = folder / "given", folder / "scene"
    sfm = replace(StandIn().sfm(), write_clouds=PYCOLMAP.write_clouds)
    write_n3v_scene(given, Rig(frames=4, width=40, height=32, focal=40.0))
    for kind, preparation in PREPARATIONS.items():
        patch.setitem(PREPARATIONS, kind, replace(preparation, run=partial(preparation.run, sfm=sfm)))

    def prepare() -> None:
        shutil.copytree(given, scene)

    def run_it() -> int:
        argv = ["n3v", str(scene), "--every", "2", "--frames", "all", "--quiet"]
        with exit_code(argv) as code:
            code.value = engine.commands.prepare.command(argv, prog="moegs.py prepare", description="")
        return code.value

    prepare()
    return Command(run=run_it, again=run_it, results=scene, prepare=prepare)


def prune_run(folder: Path, _: pytest.MonkeyPatch) -> Command:
    """Pruning of a run of two experts; once its last file is there, it is done."""
    return _smaller(folder, "prune", "--ratio=0.5", "--rounds=2", "--score_frames=1", last="pruned.json")


def distill_run(folder: Path, _: pytest.MonkeyPatch) -> Command:
    """Distillation of a run of two experts; once its last file is there, it is done."""
    return _smaller(folder, "distill", "--expert=STG", "--test_frames=1", last="distilled.json")


def _smaller(folder: Path, command: str, *flags: str, last: str) -> Command:
    film, trained, out = write_film(folder), folder / "trained", folder / "out"
    named = []
    for key, name in (("stg", "STG"), ("ex4dgs", "Ex4DGS")):
        if run(film, folder / "models" / name, key, "--iterations=2") != 0:
            raise SystemExit(f"{name} cannot be trained")
        named.append(f"--expert={name}={folder / 'models' / name}")
    shared = [f"--source_path={film}", f"--cache_path={folder / 'cache'}", "--quiet", "--device=cpu"]
    if moegs.main(["train", *shared, *named, "--iterations=2", "--test_iterations", f"--save_path={trained}"]) != 0:
        raise SystemExit("the router cannot be trained")
    argv = [command, str(trained), f"--out={out}", "--quiet", "--device=cpu", "--iterations=2", *flags]

    def again() -> int:
        return 0 if (out / last).is_file() else moegs.main(argv)

    return Command(run=lambda: moegs.main(argv), again=again, results=out)


COMMANDS: dict[str, Callable[[Path, pytest.MonkeyPatch], Command]] = {
    "train-expert": train_expert,
    "train": train_router,
    "render": render_run,
    "prepare": prepare_scene,
    "prune": prune_run,
    "distill": distill_run,
}
torch.set_num_threads(1)  # a forked child has the thread that forked it alone
