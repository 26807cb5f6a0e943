"""The start of a router's training: from nothing, or from the newest save of its folder."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from common.disk.faults import reading
from common.text.wording import counted, first_and_more
from engine.errors import ConfigError
from engine.runs.run import Run
from engine.runs.saved.checkpoint import (
    STATE,
    SavedRouter,
    check_state,
    checkpoint_folder,
    load_checkpoint,
    saved_iterations,
)
from engine.runs.saved.expert_records import ExpertRecord
from engine.runs.saved.kept_rules import KeptRules
from engine.runs.saved.router_tensors import read_tensors
from engine.runs.saved.scene_record import other_cameras, other_footage, scene_facts
from engine.runs.saved.seeds import trained_seeds
from engine.settings.training.run import RunConfig
from experts.base import CheckpointError
from experts.training.saved_states import load_moments

logger = logging.getLogger(__name__)

SEED, RANDOM = "seed", "torch_random"
NOT_COMPARED = ("name", "cameras", "footage", "router")  # facts of the scene; the router's cameras are not in "train"


def check_router_folder(config: RunConfig, save_path: Path) -> None:
    """Raises ConfigError where the folder holds a run and neither --resume nor --overwrite is given."""
    saved = saved_iterations(save_path)
    if saved and not (config.output.resume or config.output.overwrite):
        raise ConfigError(
            f"{save_path}: holds a router trained for {counted(saved[-1], 'iteration')}; add --resume to continue it, "
            "--overwrite to start again, or choose another --save_path"
        )
    if seeds := trained_seeds(save_path):
        raise ConfigError(
            f"{save_path}: holds a run for each of {counted(len(seeds), 'seed')}; add --seeds N, or choose another "
            "--save_path"
        )


def rules_of_newest(save_path: Path) -> KeptRules | None:
    """The rules for novel views of a run's newest save that can be read; None where none keeps any."""
    for iteration in reversed(saved_iterations(save_path)):
        try:
            return load_checkpoint(checkpoint_folder(save_path, iteration)).rules
        except CheckpointError:
            continue  # told when it is resumed
    return None


def resume_newest(
    run: Run,
    optimiser: torch.optim.Optimizer,
    *,
    save_path: Path,
    seed: int,
    records: tuple[ExpertRecord, ...],
) -> tuple[int, float]:
    """Restores the newest save that can be read; returns its iteration and seconds of training, 0 where there are none.

    Raises CheckpointError where none can be read, ConfigError where it belongs to other experts or another scene.
    """
    faults: list[CheckpointError] = []
    for iteration in reversed(saved_iterations(save_path)):
        folder = checkpoint_folder(save_path, iteration)
        try:
            saved = load_checkpoint(folder)
            check_same(saved, run, records)
            restore_training_state(optimiser, folder, seed)
        except CheckpointError as fault:
            logger.warning("%s", fault)
            faults.append(fault)
        else:
            run.router.load_state_dict(saved.router.state_dict())
            logger.info("resuming after iteration %d from %s", iteration, folder)
            return iteration, saved.training_seconds or 0.0
    if faults:
        raise faults[0]
    logger.info("no save to resume in %s: starting at iteration 1", save_path)
    return 0, 0.0


def check_same(saved: SavedRouter, run: Run, records: tuple[ExpertRecord, ...]) -> None:
    """Raises ConfigError where a save is of another head, or of other experts, cameras, frames or footage."""
    kind = run.router.head_kind
    if saved.router.head_kind != kind:
        raise ConfigError(f"{saved.folder}: has the head {saved.router.head_kind}, not {kind}; give --rgbfunction")
    if (saved.router.cues is None) != (run.router.cues is None):
        before = "off" if saved.router.cues is None else "on"
        raise ConfigError(f"{saved.folder}: was trained with --cues {before}; give the same, or --overwrite")
    if [record.name for record in saved.experts] != [record.name for record in records]:
        raise ConfigError(f"{saved.folder}: is a router of {saved.ensemble}, not {run.ensemble.name}; use its script")
    for old, new in zip(saved.experts, records, strict=True):
        if old.files != new.files:
            changed = sorted(set(old.files.items()) ^ set(new.files.items()))[0][0]
            raise ConfigError(
                f"{Path(new.folder) / changed}: {new.name} is not the model that {saved.folder} was trained with; give "
                f"that one, or start again: with --overwrite, or in run-all by deleting {saved.folder.parent.parent}"
            )
    for key, value in scene_facts(run).items():
        if key not in NOT_COMPARED and saved.scene[key] != value:
            raise ConfigError(
                f"{run.scene.root}: {key} is {value}, {saved.folder} was trained with {saved.scene[key]}; give the "
                "same scene and cut, or start again with --overwrite"
            )
    if cameras := other_cameras(saved.scene, run):
        raise ConfigError(
            f"{run.scene.root}: other cameras than {saved.folder} was trained with ({first_and_more(cameras)}); give "
            "the same poses and --principal_points, or start again with --overwrite"
        )
    if replaced := other_footage(saved.scene, run):
        raise ConfigError(
            f"{run.scene.root}: other footage than {saved.folder} was trained with ({first_and_more(replaced)}); give "
            "the same videos or images, or start again with --overwrite"
        )


def training_state(optimiser: torch.optim.Optimizer, seed: int) -> dict[str, Tensor]:
    """The optimiser's moments and steps, the sampler's seed (its position is the iteration) and torch's generator.

    All on the CPU, like the generator: a GPU's is never used.
    """
    moments = {
        f"optimiser.{index}.{name}": value.cpu().contiguous()
        for index, entries in optimiser.state_dict()["state"].items()
        for name, value in entries.items()
    }
    return {**moments, SEED: torch.tensor(seed), RANDOM: torch.get_rng_state()}


def restore_training_state(optimiser: torch.optim.Optimizer, folder: Path, seed: int) -> None:
    """Gives a fresh optimiser the state saved in a checkpoint's folder, and torch its generator's.

    Raises CheckpointError where the file is missing, damaged, or from a run with another seed.
    """
    path = folder / STATE
    state = read_tensors(path)
    check_state(folder, state)
    with reading(path, "not a readable training state", CheckpointError, advice="start again with --overwrite"):
        if int(state.pop(SEED)) != seed:
            raise CheckpointError(f"{path}: saved with another --seed than {seed}; resume with that run's seed")
        random = state.pop(RANDOM)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            _, index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = value
        fresh = optimiser.state_dict()
        load_moments(optimiser, {"state": moments, "param_groups": fresh["param_groups"]})
        torch.set_rng_state(random)
