"""The conditions that settings of the render scripts must satisfy."""

from __future__ import annotations

from common.text.wording import shell
from engine.errors import ConfigError
from engine.settings.parsing.paths import check_expert, check_file, check_folder, check_target
from engine.settings.rendering.metric_protocols import missing_package
from engine.settings.rendering.novel_views import check_novel_views, trajectory_file
from engine.settings.rendering.overrides import check_moved, check_replaced
from engine.settings.rendering.render import RenderConfig, variant_of
from engine.settings.rendering.render_maps import OF_TRUTH
from engine.settings.training.experts import name_and_folder
from experts import EXPERTS
from router import Ensemble


def check_render_paths(config: RenderConfig) -> None:
    """Raises ConfigError for the first path that cannot be used."""
    check_folder("--save_path", config.run.save_path)
    check_target("--save_path", config.run.save_path)
    check_render_files(config)


def check_render_files(config: RenderConfig) -> None:
    """The part of `check_render_paths` that does not look at the run."""
    check_file("--trajectory", trajectory_file(config.viewpoint))
    check_file("--lpips_weights", config.metrics.lpips_weights, or_folder=True)
    check_moved(config.overrides)
    for argument in config.metrics.twin:
        name, path = name_and_folder(argument, flag="--twin")
        check_expert(shell("--twin", f"{name}={path}"), path, name)


def _check_without_truth(config: RenderConfig) -> None:
    """Raises ConfigError for a setting that compares with recorded frames, as novel views have none."""
    given = [f"--{name}" for name in ("metrics", "twin") if getattr(config.metrics, name)]
    given += [f"--maps {name}" for name in config.run.maps if name in OF_TRUTH]
    if given:
        raise ConfigError(f"{given[0]} compares with recorded frames, and novel views have none: leave it out")


def check_render_config(config: RenderConfig, ensemble: Ensemble | None) -> None:
    """Raises ConfigError for settings that are missing, out of range or not for this script's ensemble."""
    choice = config.run
    if choice.skip_test and (choice.skip_train or variant_of(config)):
        raise ConfigError("nothing is left to render: drop --skip_test")
    if choice.seeds is not None and choice.seeds < 1:
        raise ConfigError(f"--seeds is {choice.seeds}: give more than 0")
    check_novel_views(config.viewpoint)
    if variant_of(config):
        _check_without_truth(config)
    elif config.without:
        raise ConfigError(
            f"--without {config.without[0]} goes with novel views, such as --trajectory spiral: a run's scores are "
            "those of all its experts; leave it out"
        )
    check_replaced(config.overrides)
    if (config.metrics.constant_frames or 0) < 0:
        raise ConfigError(f"--constant_frames is {config.metrics.constant_frames}: give 0 or more")
    for name in config.metrics.metrics:
        if (reason := missing_package(name)) is not None:
            raise ConfigError(f"--metrics {name}: {reason}")
    if ensemble is None:
        return
    for spec in EXPERTS.values():
        if spec.name not in ensemble.experts and getattr(config.overrides, spec.flag) is not None:
            raise ConfigError(f"--{spec.flag}: {ensemble.name} has no such expert; leave it out")
