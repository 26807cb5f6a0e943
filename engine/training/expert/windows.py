"""Outputs of one command with --windows: a model of each window of the clip."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from common.text.wording import counted, first_and_more
from engine.errors import ConfigError
from engine.runs.device import ComputeDevice
from engine.settings.training.train_expert import DEFAULT_OVERLAP, TrainExpertConfig
from engine.training.expert.saves import ExpertOutput
from experts import ExpertSpec
from experts.windows.folders import Window, planned_windows, windows_below
from scenes import Scene
from scenes.cutting import cut


def window_outputs(
    config: TrainExpertConfig, spec: ExpertSpec, scene: Scene, compute: ComputeDevice
) -> list[ExpertOutput]:
    """Each window of the clip, or the one that --window asks for, in time order.

    ConfigError for a window that does not exist, and for a folder that holds a model of another cut.
    """
    recipe, model_path = config.recipe, cast(Path, config.output.model_path)
    overlap = DEFAULT_OVERLAP if recipe.overlap is None else recipe.overlap
    windows = planned_windows(scene.num_frames, length=recipe.windows, overlap=overlap)
    if recipe.window is not None and recipe.window > len(windows):
        raise ConfigError(
            f"--window {recipe.window}: the clip has {counted(len(windows), 'window')} of at most "
            f"{counted(recipe.windows, 'frame')}; give 1 to {len(windows)}"
        )
    _check_cut(model_path, windows)
    outputs = [
        ExpertOutput(
            folder=model_path / window.name,
            name=spec.name,
            scene=cut(scene, window.first, window.count),
            compute=compute,
        )
        for window in windows
    ]
    return outputs if recipe.window is None else [outputs[recipe.window - 1]]


def check_no_windows(model_path: Path) -> None:
    """Raises ConfigError where a folder for a model without windows holds some."""
    if windows := windows_below(model_path):
        raise ConfigError(
            f"{model_path}: holds {windows[0].name}, and this training makes no windows; choose another --model_path, "
            "or the same --windows and --overlap"
        )


def _check_cut(model_path: Path, planned: tuple[Window, ...]) -> None:
    """Raises ConfigError where the folder holds a model cut in another way, which could not be told apart."""
    wanted = first_and_more([window.name for window in planned])
    if (model_path / "point_cloud").is_dir():
        raise ConfigError(
            f"{model_path}: holds one model of a whole clip, this training makes {wanted}; choose another --model_path"
        )
    other = [window.name for window in windows_below(model_path) if window not in planned]
    if other:
        raise ConfigError(
            f"{model_path}: holds {other[0]}, this training makes {wanted}; choose another --model_path, or the same "
            "--windows and --overlap"
        )
