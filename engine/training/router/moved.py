"""The scene and the experts of a run that is resumed, where they lie now."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.runs.saved.checkpoint import SavedRouter, checkpoint_folder, load_checkpoint, saved_iterations
from engine.runs.saved.expert_records import changed_file, find_place
from engine.runs.saved.loading import scene_folder
from engine.runs.saved.seeds import runs_of
from engine.settings.parsing.config_file import read_object
from engine.settings.parsing.fields import with_values
from engine.settings.training.experts import ensemble_and_folders
from engine.settings.training.run import AnyExpertsConfig, RunConfig
from engine.settings.training.train import CONFIG_FILE
from experts.base import CheckpointError
from router import Ensemble, folder_flags, kind_of

logger = logging.getLogger(__name__)


def found_again(config: RunConfig, ensemble: Ensemble) -> RunConfig:
    """Settings of --resume whose folders are those where the scene and the experts lie now.

    A run may have been moved or copied with them: they are found as `load_run` finds them. Folders that were given with
    this command stay. Settings without --resume, and those of a run without a save that can be read, stay as they are.
    """
    save_path = config.output.save_path
    if not config.output.resume or save_path is None or not (save_path / CONFIG_FILE).is_file():
        return config
    run_folder = runs_of(save_path)[0]
    saved = _newest(run_folder)
    if saved is None:
        return config
    earlier = read_object(save_path / CONFIG_FILE)
    places = {name: (path, _place(saved, run_folder, name)) for name, path in _recorded(config, ensemble, earlier)}
    moved = {name: now for name, (before, now) in places.items() if now is not None and now != before}
    source = config.data.source_path
    if source is not None and str(source) == earlier.get("source_path"):
        scene = scene_folder(source, saved, run_folder)
        if scene != source:
            logger.info("the scene is read from %s, as %s is not there any more", scene, source)
            config = with_values(config, {"source_path": scene})
    for name, folder in moved.items():
        logger.info("%s is read from %s, as its model is not in %s any more", name, folder, places[name][0])
    return _with_folders(config, ensemble, moved)


def _newest(run_folder: Path) -> SavedRouter | None:
    """The newest save that can be read."""
    for iteration in reversed(saved_iterations(run_folder)):
        try:
            return load_checkpoint(checkpoint_folder(run_folder, iteration))
        except CheckpointError:  # resuming tells of it
            continue
    return None


def _recorded(config: RunConfig, ensemble: Ensemble, earlier: Mapping[str, Any]) -> list[tuple[str, Path]]:
    """The experts whose folders were not given with this command, with the folders of the run's own settings."""
    if isinstance(config.experts, AnyExpertsConfig):
        known = earlier.get("expert", ())
        folders = ensemble_and_folders(config.experts.expert)[1].items()
        arguments = dict(zip(ensemble.experts, config.experts.expert, strict=True))
        return [(name, path) for name, path in folders if arguments[name] in known]
    given = {name: (flag, getattr(config.experts, flag)) for name, flag in folder_flags(ensemble).items()}
    return [(name, path) for name, (flag, path) in given.items() if path and str(path) == earlier.get(flag)]


def _place(saved: SavedRouter, run_folder: Path, name: str) -> Path | None:
    """Where the files of an expert lie; None where they are nowhere, or have not moved."""
    record = next((record for record in saved.experts if record.name == name), None)
    if record is None or changed_file(record, Path(record.folder)) is None:
        return None
    place = find_place(record, run_folder)
    return None if place is None else place / record.entry


def _with_folders(config: RunConfig, ensemble: Ensemble, moved: Mapping[str, Path]) -> RunConfig:
    if not isinstance(config.experts, AnyExpertsConfig):
        flags = folder_flags(ensemble)
        return with_values(config, {flags[name]: folder for name, folder in moved.items()})
    folders = ensemble_and_folders(config.experts.expert)[1] | dict(moved)
    return with_values(config, {"expert": tuple(f"{kind_of(name)}={path}" for name, path in folders.items())})
