"""A run of one expert alone, whose mixture is that expert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.runs.opening import new_run
from engine.runs.run import Run
from engine.runs.scene import CheckScene, any_scene
from engine.settings.parsing.config_file import read_object, settings_of_object
from engine.settings.parsing.fields import leaves, with_values
from engine.settings.training.experts import ensemble_and_folders
from engine.settings.training.run import AnyRunConfig, DataConfig
from engine.settings.training.train_expert import EXPERT_CONFIG_FILE


def lone_expert_run(given: Mapping[str, Any], *, check: CheckScene = any_scene) -> Run:
    """The run of the one expert that settings name by `expert` ("STG=FOLDER"), on the scene of `source_path`.

    given: settings of a run by name; None stands for that of the expert's training, else for the default. check, and
    the errors: those of `new_run`.
    """
    settings = {name: value for name, value in given.items() if value is not None}
    ensemble, folders = ensemble_and_folders(settings["expert"])
    (folder,) = folders.values()
    settings = trained_data(folder) | settings | {"save_path": folder}
    run = new_run(with_values(AnyRunConfig(), settings), ensemble, check=check)
    iteration = run.experts[0].provenance.iteration
    return replace(run, iteration=iteration, router=run.router.eval().requires_grad_(False))


def trained_data(folder: Path) -> dict[str, Any]:
    """The part of the scene that an expert was trained on, settings by name; empty where its folder does not tell it.

    A cache of frames that is not there any more is left out. ConfigError where the file is damaged.
    """
    path = folder / EXPERT_CONFIG_FILE
    if not path.is_file():
        return {}
    known = leaves(DataConfig)
    content = {name: value for name, value in read_object(path).items() if name in known and name != "router_cameras"}
    settings = settings_of_object(content, DataConfig, path)
    cache = settings.get("cache_path")
    return settings if cache is None or cache.is_dir() else settings | {"cache_path": None}
