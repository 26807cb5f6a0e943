"""The conditions that settings of an expert's training must satisfy."""

from __future__ import annotations

import math

from engine.errors import ConfigError
from engine.settings.parsing.paths import check_file, check_folder, check_target
from engine.settings.training.data_checks import check_data
from engine.settings.training.experts import check_novel_near
from engine.settings.training.run import check_keep_checkpoints, check_seed
from engine.settings.training.train_expert import DEFAULT_OVERLAP, RecipeConfig, TrainExpertConfig


def check_settings(config: TrainExpertConfig) -> None:
    """Raises ConfigError for settings that are missing or out of range."""
    output, recipe, data = config.output, config.recipe, config.data
    check_folder("--source_path", data.source_path)
    check_target("--cache_path", data.cache_path)
    check_file("--points", None if data.points == "random" else data.points)
    check_target("--model_path", output.model_path)
    check_file("--lpips_weights", output.lpips_weights, or_folder=True)
    positive = {
        name: getattr(recipe, name)
        for name in ("iterations", "max_gaussians", "near", "far", "batch", "segment", "window")
    }
    positive |= {"test_frames": output.test_frames, "max_points": data.max_points, "cache_mb": data.cache_mb}
    for name, value in positive.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"--{name} is {value}: give more than 0")
    check_novel_near(output.novel_near)
    check_seed(recipe.seed)
    check_keep_checkpoints(output.keep_checkpoints)
    check_data(data)
    if recipe.near is not None and recipe.far is not None and not recipe.near < recipe.far:
        raise ConfigError(f"--near is {recipe.near:g} and --far {recipe.far:g}: near must be less than far")
    if recipe.dssim is not None and not 0 <= recipe.dssim <= 1:
        raise ConfigError(f"--dssim is {recipe.dssim}: give a weight between 0 and 1")
    if recipe.segments < 0:
        raise ConfigError(f"--segments is {recipe.segments}: give a number of frames, or 0 for the whole clip in one")
    _check_windows(recipe)
    for name in ("test_iterations", "save_iterations"):
        if any(step < 1 for step in getattr(output, name) or ()):
            raise ConfigError(f"--{name} holds {min(getattr(output, name))}: iterations are counted from 1")
    if output.resume and output.overwrite:
        raise ConfigError("--resume and --overwrite exclude each other: give one")


def _check_windows(recipe: RecipeConfig) -> None:
    """Raises ConfigError for windows that cannot be, and for what goes with windows alone."""
    overlap = DEFAULT_OVERLAP if recipe.overlap is None else recipe.overlap
    for name, value in (("windows", recipe.windows), ("overlap", overlap)):
        if value < 0:
            raise ConfigError(f"--{name} is {value}: give a number of frames, or 0 for none")
    if recipe.overlap is not None and not recipe.windows:
        raise ConfigError("--overlap needs --windows, the most frames of one: give both")
    if recipe.windows and recipe.windows < max(2, 3 * overlap):  # else three windows could show a frame
        raise ConfigError(
            f"--windows is {recipe.windows} and --overlap {overlap}: a window has at least 2 frames, and three "
            f"times those that it shares; give --windows {max(2, 3 * overlap)} or more, or a smaller --overlap"
        )
    if recipe.windows and recipe.segment is not None:
        raise ConfigError("--segment goes with --segments, not with --windows; give --window")
    if recipe.window is not None and not recipe.windows:
        raise ConfigError("--window needs --windows, the most frames of one: give both")
