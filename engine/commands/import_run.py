"""Import a run of the paper's own code: python moegs.py import FOLDER --save_path SAVE_PATH."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.disk.locks import is_written_to
from common.text.wording import script_command
from engine.errors import ConfigError
from engine.outputs.upstream_layout import ensemble_in, fill_router, read_router
from engine.runs.alone import alone
from engine.runs.opening import new_run
from engine.runs.saved.checkpoint import save_checkpoint, saved_iterations
from engine.runs.saved.expert_records import record_expert
from engine.settings.exchange import ImportConfig, read_import_settings
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.parsing.config_file import write_config_file
from engine.settings.parsing.earlier import unsaved_settings
from engine.settings.parsing.fields import convert, leaves, with_values
from engine.settings.parsing.paths import check_empty, check_folder, check_target
from engine.settings.training.run import AnyRunConfig, RunConfig, expert_folders
from engine.settings.training.train import CONFIG_FILE
from engine.training.router.resume import training_state
from engine.training.router.schedule import make_optimiser
from experts import EXPERTS
from experts.formats.cfg_args import CFG_ARGS, read_cfg_args
from experts.formats.folders import find_iteration
from router import Ensemble, folder_flags, is_published, kind_of, render_command
from router.heads import DEFAULT_HEAD

logger = logging.getLogger(__name__)

# What a run takes from cfg_args; all else there is of the experts' trainings, or says where upstream wrote.
TAKEN = (
    *("source_path", "loader", "resolution", "start_timestamp", "end_timestamp", "duration", "test_cameras"),
    *("near", "far", "principal_points"),  # the last one only where `export` wrote the folder
)
UPSTREAM = {"rgbfunction": DEFAULT_HEAD, "temperature": 0.01, "eval_temperature": 1.0}  # where cfg_args does not say


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Makes a run of a folder of the paper's code; returns the exit code."""
    config = read_import_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    assert config.folder is not None and config.save_path is not None, "both are required"
    check_folder("FOLDER", config.folder)
    check_target("--save_path", config.save_path)
    check_folder("--source_path", config.source_path)
    _check_new(config.save_path)
    with alone(config.save_path, "--save_path"):
        return _import(config, config.folder, config.save_path)


def _import(config: ImportConfig, source: Path, save_path: Path) -> int:
    """Makes a run in a folder that no other command writes in."""
    _check_no_run(save_path)  # another command has ended by now
    ensemble = ensemble_in(source)
    iteration = _iteration(config, ensemble)
    settings = run_settings(config, ensemble, iteration)
    stored = read_router(source, ensemble, iteration, kind=settings.router.rgbfunction)
    run = new_run(settings, ensemble)
    fill_router(run.router, stored)
    folders = expert_folders(settings, ensemble)
    records = tuple(record_expert(expert, folders[expert.name], save_path=save_path) for expert in run.experts)
    state = training_state(make_optimiser(run.router, settings.training), settings.training.seed)
    write_config_file(save_path / CONFIG_FILE, settings)
    folder = save_checkpoint(save_path, run, iteration, experts=records, state=state)
    command = script_command(*render_command(ensemble).split(), "--save_path", save_path, "--skip_train")
    print(f"imported: {folder}", f"to render and score it: {command}", sep="\n")
    return 0


def _check_new(save_path: Path) -> None:
    _check_no_run(save_path)
    if not is_written_to(save_path):  # that is refused by `alone`
        check_empty("--save_path", save_path)


def _check_no_run(save_path: Path) -> None:
    if saved_iterations(save_path):
        raise ConfigError(f"{save_path}: holds a run already; choose another --save_path")


def _iteration(config: ImportConfig, ensemble: Ensemble) -> int:
    assert config.folder is not None
    first = config.folder / ensemble.experts[0]
    segments = EXPERTS[kind_of(ensemble.experts[0])].segments
    names = [] if segments is None or (first / "point_cloud").exists() else segments.names(first)
    wanted = None if config.iteration == -1 else config.iteration
    return find_iteration(first / names[0] if names else first, wanted)[0]


def run_settings(config: ImportConfig, ensemble: Ensemble, iteration: int) -> RunConfig:
    """Settings of the run to make: those of the folder's cfg_args that a run has, then the command line's."""
    assert config.folder is not None and config.save_path is not None
    folder = config.folder.absolute()
    stored = read_cfg_args(folder) or {}
    values: dict[str, Any] = _converted({name: stored[name] for name in (*TAKEN, *UPSTREAM) if name in stored}, folder)
    values = UPSTREAM | values | {"save_path": config.save_path, "load_iteration": iteration}
    for name in ("source_path", *UPSTREAM):
        if getattr(config, name) is not None:
            values[name] = getattr(config, name)
    if "source_path" not in values:
        raise ConfigError("--source_path is missing: cfg_args does not name the scene; give its folder")
    values |= unsaved_settings(values, layout=ensemble.layout)
    if is_published(ensemble):
        values |= {flag: folder / name for name, flag in folder_flags(ensemble).items()}
        return with_values(RunConfig(), values)
    values["expert"] = tuple(f"{kind_of(name)}={folder / name}" for name in ensemble.experts)
    return with_values(AnyRunConfig(), values)


def _converted(stored: Mapping[str, object], folder: Path) -> dict[str, Any]:
    """Values of cfg_args as the settings' types; ConfigError where one is of another kind."""
    annotations, path = leaves(RunConfig), folder / CFG_ARGS
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in stored.items()}
    return {name: convert(value, annotations[name], f"{path}: {name}") for name, value in plain.items()}
