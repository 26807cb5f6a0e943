"""What one command trains: an expert of the whole clip, or STG's models of its segments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from engine.errors import ConfigError
from engine.runs.device import ComputeDevice
from engine.settings.train_expert import TrainExpertConfig
from engine.training.expert_saves import ExpertOutput
from engine.training.expert_table import Trainee
from scenes import Scene
from scenes.cutting import cut

_SEGMENT = re.compile(r"(?:.+_)?\d+to\d+")


def choose_outputs(
    config: TrainExpertConfig, trainee: Trainee, scene: Scene, compute: ComputeDevice
) -> list[ExpertOutput]:
    """The clip, or for STG each of its segments, or the one that --segment asks for, in time order.

    A segmented model is laid out as upstream's: <model_path>/<its last component>_<first>to<last>. ConfigError for a
    segment that does not exist, and for a folder that holds a model of another cut.
    """
    recipe, model_path = config.recipe, cast(Path, config.output.model_path)
    if trainee.name != "STG":
        if recipe.segment is not None:
            raise ConfigError(f"--segment is STG's; {trainee.name} is one model of the whole clip: leave it out")
        return [ExpertOutput(folder=model_path, name=trainee.name, scene=scene, compute=compute)]
    length = recipe.segments or scene.num_frames
    starts = list(range(0, scene.num_frames, length))
    if recipe.segment is not None and recipe.segment > len(starts):
        raise ConfigError(
            f"--segment {recipe.segment}: segments of {length} frames are {len(starts)}; give 1 to {len(starts)}"
        )
    if len(starts) == 1:
        _check_cut(model_path, planned=())
        return [ExpertOutput(folder=model_path, name=trainee.name, scene=scene, compute=compute)]
    prefix = model_path.resolve().name
    outputs = []
    for first in starts:
        count = min(length, scene.num_frames - first)
        folder = model_path / f"{prefix}_{first}to{first + count - 1}"
        outputs.append(ExpertOutput(folder=folder, name=trainee.name, scene=cut(scene, first, count), compute=compute))
    _check_cut(model_path, planned=tuple(output.folder.name for output in outputs))
    return outputs if recipe.segment is None else [outputs[recipe.segment - 1]]


def _check_cut(model_path: Path, *, planned: tuple[str, ...]) -> None:
    """Raises ConfigError where the folder holds a model cut in another way, which could not be told apart."""
    if planned and (model_path / "point_cloud").is_dir():
        raise ConfigError(
            f"{model_path}: holds one model of a whole clip, this training makes {len(planned)} segments; choose "
            "another --model_path, or --segments 0"
        )
    folders = [path.name for path in model_path.iterdir() if path.is_dir()] if model_path.is_dir() else []
    other = sorted(name for name in folders if _SEGMENT.fullmatch(name) and name not in planned)
    if other:
        wanted = ", ".join(planned) or "one model of the whole clip"
        raise ConfigError(
            f"{model_path}: holds {other[0]}, this training makes {wanted}; choose another --model_path, or the same "
            "--segments"
        )
