"""A run of one expert alone, whose mixture is that expert."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.runs.opening import new_run
from engine.runs.own_cache import own_cache
from engine.runs.run import Run
from engine.runs.scene import ELSEWHERE, OWN_CACHE, CheckScene, any_scene, keeps_frames
from engine.settings.parsing.config_file import read_object, settings_of_object
from engine.settings.parsing.fields import leaves, with_values
from engine.settings.training.experts import ensemble_and_folders
from engine.settings.training.moved import moved_inputs
from engine.settings.training.run import AnyRunConfig, DataConfig
from engine.settings.training.train_expert import TrainExpertConfig
from engine.settings.training.train_expert_reading import EXPERT_CONFIG_FILE
from experts.formats.cfg_args import CFG_ARGS, read_cfg_args, scene_told
from scenes.frames.cache.record import FOLDER as CACHE_FOLDER

logger = logging.getLogger(__name__)


def lone_expert_run(given: Mapping[str, Any], *, check: CheckScene = any_scene) -> Run:
    """The run of the one expert that settings name by `expert` ("STG=FOLDER").

    given: settings of a run by name; None stands for that of the expert's training, else for the default. Without
    `source_path` the scene is the one that the expert's folder tells. check, and the errors: those of `new_run`, and
    ConfigError where the folder tells no scene, or one that is not there, or decoded frames have no place.
    """
    settings = {name: value for name, value in given.items() if value is not None}
    ensemble, folders = ensemble_and_folders(settings["expert"])
    (folder,) = folders.values()
    trained = trained_data(folder)
    if "source_path" not in settings:
        settings["source_path"] = _scene_of(folder, trained.get("source_path"))
    settings = trained | settings | {"save_path": folder}
    if settings.get("cache_path") is None:
        settings["cache_path"] = _cache_of(folder, settings["source_path"])
    run = new_run(with_values(AnyRunConfig(), settings), ensemble, check=check)
    iteration = run.experts[0].provenance.iteration
    return replace(run, iteration=iteration, router=run.router.eval().requires_grad_(False))


def trained_data(folder: Path) -> dict[str, Any]:
    """The scene that an expert was trained on and the part of it, settings by name; empty where its folder has none.

    The scene of a tree that was moved as a whole is where it is now. A cache of frames is left out where it is not
    there any more, or outside of the folder (`own_cache`). ConfigError where the file is damaged.
    """
    path = folder / EXPERT_CONFIG_FILE
    if not path.is_file():
        return {}
    known = {*leaves(DataConfig), "model_path"} - {"router_cameras"}
    content = {name: value for name, value in read_object(path).items() if name in known}
    saved = settings_of_object(content, TrainExpertConfig, path)
    settings = {
        name: value for name, value in (saved | moved_inputs(saved, folder)).items() if name in leaves(DataConfig)
    }
    cache = settings.get("cache_path")
    if cache is None:
        return settings
    return settings | {"cache_path": own_cache(folder, cache) if cache.is_dir() else None}


def _cache_of(folder: Path, source: Path) -> Path | None:
    """The cache of the expert's training where the scene's folder cannot be written, None where it can.

    An expert that is only shown gets no new folder: ConfigError where neither can be used.
    """
    if keeps_frames(source):
        return None
    own = own_cache(folder, folder / OWN_CACHE)
    if own is None or not own.is_dir():
        raise ConfigError(f"{source / CACHE_FOLDER}: cannot be written; {ELSEWHERE}")
    return own


def _scene_of(folder: Path, trained_on: Path | None) -> Path:
    """The scene of an expert by its folder: that of its training's settings, else of a cfg_args there; ConfigError."""
    file, scene = (folder / EXPERT_CONFIG_FILE, trained_on) if trained_on is not None else _scene_of_arguments(folder)
    if not scene.is_dir():
        raise ConfigError(
            f"{file}: the scene was in {scene}, which is no folder here; give the scene with --source_path"
        )
    logger.info("the scene is %s, as %s tells", scene, file)
    return scene


def _scene_of_arguments(folder: Path) -> tuple[Path, Path]:
    """The first cfg_args of an expert's folder or of its segments that tells a scene, and the scene; ConfigError."""
    for part in [folder, *sorted(folder.glob("*/"))] if folder.is_dir() else [folder.parent]:
        scene = scene_told(read_cfg_args(part))
        if scene is not None:
            return part / CFG_ARGS, Path(str(scene))
    raise ConfigError(f"{folder}: does not tell the scene of its training; give the scene with --source_path")
