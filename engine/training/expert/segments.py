"""Outputs of one command: an expert of the whole clip, or models of its segments."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from common.text.wording import counted
from engine.errors import ConfigError
from engine.runs.device import ComputeDevice
from engine.settings.training.experts import WITH_SEGMENTS
from engine.settings.training.train_expert import TrainExpertConfig
from engine.training.expert.saves import ExpertOutput
from engine.training.expert.windows import check_no_windows, window_outputs
from experts import ExpertSpec
from experts.spec import SegmentFolders
from scenes import Scene
from scenes.cutting import cut


def choose_outputs(
    config: TrainExpertConfig, spec: ExpertSpec, scene: Scene, compute: ComputeDevice
) -> list[ExpertOutput]:
    """The clip, or each of its windows or segments, or the one that --window or --segment asks for, in time order.

    ConfigError for a segment that does not exist, and for a folder that holds a model of another cut.
    """
    recipe, model_path = config.recipe, cast(Path, config.output.model_path)
    if recipe.windows:
        return window_outputs(config, spec, scene, compute)
    check_no_windows(model_path)
    if spec.segments is None:
        if recipe.segment is not None:
            raise ConfigError(
                f"--segment is {WITH_SEGMENTS}'s; {spec.name} is one model of the whole clip: leave it out"
            )
        return [ExpertOutput(folder=model_path, name=spec.name, scene=scene, compute=compute)]
    length = recipe.segments or scene.num_frames
    starts = list(range(0, scene.num_frames, length))
    if recipe.segment is not None and recipe.segment > len(starts):
        raise ConfigError(
            f"--segment {recipe.segment}: segments of {counted(length, 'frame')} are {len(starts)}; "
            f"give 1 to {len(starts)}"
        )
    if len(starts) == 1:
        _check_cut(model_path, spec.segments, planned=())
        return [ExpertOutput(folder=model_path, name=spec.name, scene=scene, compute=compute)]
    outputs = []
    for first in starts:
        count = min(length, scene.num_frames - first)
        folder = spec.segments.folder(model_path, first, first + count - 1)
        outputs.append(ExpertOutput(folder=folder, name=spec.name, scene=cut(scene, first, count), compute=compute))
    _check_cut(model_path, spec.segments, planned=tuple(output.folder.name for output in outputs))
    return outputs if recipe.segment is None else [outputs[recipe.segment - 1]]


def _check_cut(model_path: Path, segments: SegmentFolders, *, planned: tuple[str, ...]) -> None:
    """Raises ConfigError where the folder holds a model cut in another way, which could not be told apart."""
    if planned and (model_path / "point_cloud").is_dir():
        raise ConfigError(
            f"{model_path}: holds one model of a whole clip, this training makes {len(planned)} segments; choose "
            "another --model_path, or --segments 0"
        )
    other = [name for name in segments.names(model_path) if name not in planned]
    if other:
        wanted = ", ".join(planned) or "one model of the whole clip"
        raise ConfigError(
            f"{model_path}: holds {other[0]}, this training makes {wanted}; choose another --model_path, or the same "
            "--segments"
        )
