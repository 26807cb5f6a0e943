"""Saves of an expert in training: the expert, in its own format, and the state to continue from."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.disk.contained import own_folder
from common.disk.files import put_in_place
from common.disk.leftovers import unfinished_folder
from engine.errors import ConfigError
from engine.runs.device import ComputeDevice
from engine.runs.experts.images import image_of
from experts import EXPERTS, Expert, LoadOptions, load_expert
from experts.base import CheckpointError
from experts.formats.cfg_args import read_cfg_args, write_cfg_args
from experts.formats.torch_files import load_tensors, save_tensors
from scenes import Scene

logger = logging.getLogger(__name__)

_FORMAT = 1
STATE_FOLDER = "training"
_STATE = re.compile(r"iteration_(\d+)\.pt")
LARGEST_DIFFERENCE = 1e-4  # root mean square, colours in [0, 1], between the model in memory and the one on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertOutput:
    """An expert to save: its folder, its name, and the clip or segment it shows."""

    folder: Path
    name: str  # in EXPERTS
    scene: Scene  # cut to the frames of the expert
    compute: ComputeDevice

    def load_options(self, iteration: int) -> LoadOptions:
        """The options with which stage 2 would load a saved iteration."""
        scene = self.scene
        return LoadOptions(
            iteration=iteration,
            num_frames=scene.num_frames,
            trained_frames=scene.num_frames,
            world_scale=EXPERTS[self.name].world_scale(scene.layout, scene.rig_radius),
        )


def save_expert(expert: Expert, output: ExpertOutput, iteration: int, *, facts: Mapping[str, object]) -> Path:
    """Saves an expert whole or not at all, once what was written shows what the model in memory shows.

    facts: for cfg_args, beside those the format needs. Returns the folder point_cloud/iteration_N. Raises
    CheckpointError where the written expert cannot be read again or shows something else: nothing is left then.
    """
    final = own_folder(output.folder, *saved_expert_folder(Path(), iteration).parts)
    final.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(output.folder, of=final) as scratch, torch.no_grad():
        staged = scratch / "model"
        EXPERTS[output.name].save(expert, staged, iteration)
        compare(expert, _loaded(staged, output, iteration), output)
        written = staged / "point_cloud" / final.name
        write_cfg_args(output.folder, {**(read_cfg_args(staged) or {}), **facts})
        put_in_place({written: final}, aside=scratch / "old")
    return final


def _loaded(folder: Path, output: ExpertOutput, iteration: int) -> Expert:
    """The expert that was just written to a folder."""
    try:
        return load_expert(output.name, folder, output.load_options(iteration))
    except CheckpointError as error:
        raise CheckpointError(
            f"{output.folder}: {output.name} cannot be loaded from what was just saved ({error}); this is a fault of "
            f"`save`, `load` or `signature` in its row of EXPERTS, not of your command: correct or report it"
        ) from error


def saved_expert_folder(folder: Path, iteration: int) -> Path:
    """The folder, below a model's, of the expert at an iteration."""
    return folder / "point_cloud" / f"iteration_{iteration}"


def saved_experts(folder: Path) -> dict[int, Path]:
    """The folders of the experts saved below a model's folder, by iteration."""
    matches = (
        (re.fullmatch(r"iteration_(\d+)", path.name), path) for path in (folder / "point_cloud").glob("iteration_*")
    )
    return {int(match[1]): path for match, path in matches if match and path.is_dir()}


@torch.no_grad()
def covered(expert: Expert, frames: Sequence[int]) -> list[int]:
    """Those of some frames that an expert can show: while Ex4DGS grows along the clip, not all."""
    shown = []
    for frame in frames:
        try:
            expert.at(frame)
        except ValueError:
            continue
        shown.append(frame)
    return shown


def compare(expert: Expert, loaded: Expert, output: ExpertOutput) -> None:
    """Raises CheckpointError where two experts show different images of a training camera at the clip's middle.

    Or at its first frame, where the middle is not shown yet.
    """
    frame = covered(expert, (output.scene.num_frames // 2, 0))[0]
    camera = output.scene.views[output.scene.train[0]].camera
    if isinstance(loaded, nn.Module):
        loaded.eval().requires_grad_(False).to(output.compute.device)
    shown, expected = (image_of(one, camera, frame, compute=output.compute) for one in (loaded, expert))
    difference = (shown - expected).square().mean().sqrt().item()
    if not difference <= LARGEST_DIFFERENCE:
        raise CheckpointError(
            f"{output.folder}: {output.name} read back from disk differs from the model that was saved by "
            f"{difference:.2g} (root mean square of colours) at frame "
            f"{frame}; this is a fault of the program, report it"
        )


def saved_state(folder: Path) -> tuple[int, Path] | None:
    """Iteration and file of the newest state below a model's folder."""
    states = {
        int(match[1]): path
        for path in (folder / STATE_FOLDER).glob("iteration_*.pt")
        if (match := _STATE.fullmatch(path.name))
    }
    return (max(states), states[max(states)]) if states else None


def holds_training(folder: Path) -> bool:
    """True where a folder holds an expert, or the beginning of one."""
    return saved_state(folder) is not None or any((folder / "point_cloud").glob("iteration_*"))


def save_state(folder: Path, iteration: int, state: Mapping[str, Any]) -> Path:
    """Writes a state of tensors, numbers, texts, lists and dicts; older ones are removed once it is there."""
    path = own_folder(folder, STATE_FOLDER) / f"iteration_{iteration}.pt"
    save_tensors({"format": _FORMAT, "iteration": iteration, **state}, path)
    for older in path.parent.glob("iteration_*.pt"):
        if older != path:
            older.unlink()
    return path


def load_state(path: Path) -> dict[str, Any]:
    """A state from `save_state`; nothing in the file is executed. CheckpointError where it is damaged."""
    state = load_tensors(path)
    if not isinstance(state, dict) or "format" not in state:
        raise CheckpointError(f"{path}: not a training's state; start again with --overwrite")
    if state["format"] != _FORMAT:
        raise CheckpointError(f"{path}: format {state['format']}, this version reads {_FORMAT}; use the one it is from")
    return state


def check_model_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raises ConfigError where a folder holds a training and neither --resume nor --overwrite is given."""
    if holds_training(folder) and not (resume or overwrite):
        newest = saved_state(folder)
        reached = f"a training that reached iteration {newest[0]}" if newest else "an expert"
        raise ConfigError(
            f"{folder}: holds {reached}; add --resume to continue it, --overwrite to start again, or choose another "
            "--model_path"
        )


def bytes_of(folder: Path) -> int:
    """Size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
