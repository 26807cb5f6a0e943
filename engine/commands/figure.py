"""Draw one frame of a run with its experts and gates: python moegs.py figure SAVE_PATH."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from common.text.suggestions import hint
from engine.errors import ConfigError
from engine.outputs.files import FIGURE_FILE
from engine.reporting.figure import most_divided, write_figure
from engine.runs.saved.loading import load_run
from engine.runs.saved.parts import results_in
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.parsing.fields import values_of
from engine.settings.parsing.paths import check_apart
from engine.settings.results.figure import FigureConfig, check_figure_config, read_figure_settings
from scenes import Scene


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Writes the figure and prints its path; the exit code."""
    config = read_figure_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    folder = check_figure_config(config)
    check_apart("--out", config.out, results_in(folder))
    iteration = None if config.iteration == -1 else config.iteration
    overrides = values_of(config.overrides) | ({"quiet": True} if config.quiet else {})
    check = partial(_check_asked, config=config)
    run = load_run(folder, iteration=iteration, overrides=overrides, needed="none", check=check)
    view, frame = chosen_view(run.scene, config.camera), config.frame
    run.scene.frames.prepare([view])
    target = config.out or folder / FIGURE_FILE
    write_figure(run, target, view=view, frame=most_divided(run, view) if frame is None else frame)
    print(f"written: {target}")
    return 0


def _check_asked(scene: Scene, *, config: FigureConfig) -> None:
    """Raises ConfigError where the scene has no such camera, or the clip no such frame."""
    chosen_view(scene, config.camera)
    if config.frame is not None and not 0 <= config.frame < scene.num_frames:
        raise ConfigError(f"--frame is {config.frame}: the clip has the frames 0 to {scene.num_frames - 1}")


def chosen_view(scene: Scene, camera: str | None) -> int:
    """The view of a camera's name, None the first held-out one; ConfigError naming the nearest where there is none."""
    if camera is None:
        return scene.test[0]
    names = [view.name for view in scene.views]
    if camera not in names:
        raise ConfigError(f"--camera {camera}: the scene has no such camera; {hint(camera, names)}")
    return names.index(camera)
