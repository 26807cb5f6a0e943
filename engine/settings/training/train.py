"""Settings of a router's training, from its arguments and files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from common.text.wording import shell
from engine.settings.parsing.command_help import CommandHelp, check_required
from engine.settings.parsing.command_line import config_path, parse_arguments
from engine.settings.parsing.config_file import read_config_file, read_object, settings_of_object
from engine.settings.parsing.earlier import unsaved_rules, unsaved_settings
from engine.settings.parsing.fields import with_values
from engine.settings.training.experts import FILE_PLANES, PLANES, name_and_folder, with_saved_experts
from engine.settings.training.run import AnyRunConfig, RunConfig
from experts import EXPERTS
from router import Ensemble, folder_flags
from scenes.layouts import LAYOUTS
from scenes.options import DEFAULT_LAYOUT

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"  # the settings that a run leaves in its folder
CONFIGS = Path(__file__).resolve().parents[3] / "configs"  # of the paper's scenes

Config = TypeVar("Config", bound=RunConfig)


def read_train_settings(ensemble: Ensemble, arguments: Sequence[str]) -> RunConfig:
    """Settings of a training script; --resume without --config takes those of the run's own config.json."""
    return _settings(RunConfig(), arguments, script_page(ensemble), layout=ensemble.layout)


def read_any_train_settings(arguments: Sequence[str], *, prog: str, description: str) -> AnyRunConfig:
    """`read_train_settings` for experts given by name; those of the command line replace those of a file.

    With --resume each one replaces the expert of its name, and the others stay.
    """
    config = _settings(AnyRunConfig(), arguments, any_page(prog, description))
    given = config.experts.expert
    saved = _saved_settings(config, arguments)
    if saved is not None:
        given = with_saved_experts(given, read_object(saved).get("expert", ()))
    folders = [name_and_folder(argument) for argument in given]
    absolute = tuple(f"{name}={path.absolute()}" for name, path in folders)
    return with_values(config, {"expert": absolute})


def script_page(ensemble: Ensemble) -> CommandHelp:
    """The help of a training script."""
    flags = folder_flags(ensemble)
    scene, example = ("data/N3V/cook_spinach", "configs/N3V/cook_spinach.json")
    if ensemble.layout == "technicolor":
        scene, example = "data/techni/Birthday", "configs/techni/Birthday.json"
    name = Path(scene).name
    folders = [f"--{flag} output/experts/{EXPERTS[expert].key}/{name}" for expert, flag in flags.items()]
    script = f"train_{ensemble.name}.py"
    return CommandHelp(
        prog=script,
        about=f"Train the router that blends {', '.join(ensemble.experts)}.",
        required=("source_path", "save_path", *flags.values()),
        hidden=(FILE_PLANES, *(spec.flag for spec in EXPERTS.values() if spec.flag not in flags.values())),
        texts={
            "loader": f"layout of the scene folder; default: {LAYOUTS[ensemble.layout or DEFAULT_LAYOUT].loader}",
            "test_cameras": f"held-out cameras; default: {LAYOUTS[ensemble.layout or DEFAULT_LAYOUT].test_camera}",
            "test_iterations": "iterations after which the held-out cameras are scored; no number: never; default: "
            + (f"{_numbers(ensemble.test_iterations)} and the last" if ensemble.test_iterations else "the last"),
            "save_iterations": "iterations after which to save; the last is always saved; default: "
            + (_numbers(ensemble.save_iterations) or "only the last"),
        },
        examples=(
            f"python {script} --config {example} \\\n"
            f"    --source_path {scene} --save_path output/{name} \\\n    " + " \\\n    ".join(folders),
            f"python {script} --resume --save_path output/{name}",
        ),
    )


def any_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py train`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("source_path", "save_path", "expert"),
        hidden=(FILE_PLANES,),
        examples=(
            f"python {prog} --source_path data/mine --save_path output/mine \\\n"
            "    --expert STG=output/experts/stg/mine --expert Ex4DGS=output/experts/ex4dgs/mine",
            f"python {prog} --resume --save_path output/mine",
        ),
    )


def _numbers(values: Sequence[int]) -> str:
    return " ".join(map(str, values))


def _settings(defaults: Config, arguments: Sequence[str], page: CommandHelp, *, layout: str | None = None) -> Config:
    config_type = type(defaults)
    path = config_path(arguments)
    start = defaults
    if path is not None:
        values = read_config_file(path, config_type)
        values[FILE_PLANES] = tuple(plane for plane in PLANES if values.get(plane) is not None)
        start = with_values(defaults, values)
    config = parse_arguments(config_type, arguments, defaults=start, page=page)
    saved = _saved_settings(config, arguments)
    if saved is not None:
        content = read_object(saved)
        earlier = unsaved_settings(content | _given_source(config), layout=layout) | unsaved_rules(content)
        start = with_values(defaults, earlier | settings_of_object(content, config_type, saved))
        config = parse_arguments(config_type, arguments, defaults=start, page=page)
    config = _with_own_planes(config, arguments)
    check_required(config, page)
    scene = config.data.source_path
    published = sorted(CONFIGS.glob(f"*/{scene.name}.json")) if scene is not None and scene.name else []
    if path is None and published and not config.output.resume:
        logger.info("no --config: default settings; the paper's settings of this scene: %s", shell(published[0]))
    return config


def _saved_settings(config: RunConfig, arguments: Sequence[str]) -> Path | None:
    """The file of settings that --resume goes on with; None without --resume, with --config, or where there is none."""
    if not config.output.resume or config_path(arguments) is not None or config.output.save_path is None:
        return None
    saved = config.output.save_path / CONFIG_FILE
    return saved if saved.is_file() else None


def _given_source(config: RunConfig) -> dict[str, Path]:
    return {} if config.data.source_path is None else {"source_path": config.data.source_path}


def _with_own_planes(config: Config, arguments: Sequence[str]) -> Config:
    """The settings with the planes of the command line taken out of those that a file gave."""
    named = {argument.split("=")[0].lstrip("-") for argument in arguments if argument.startswith("-")}
    return with_values(config, {FILE_PLANES: tuple(each for each in config.experts.file_planes if each not in named)})
