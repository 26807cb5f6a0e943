"""Show a run or an expert live in a browser: python moegs.py view SAVE_PATH."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from engine.errors import user_errors
from engine.runs.checkpoint import checkpoint_folder, load_checkpoint, saved_iterations
from engine.runs.opening import new_run
from engine.runs.run import Run, blended_fast
from engine.runs.saved import load_run
from engine.settings.command_line import set_up_logging
from engine.settings.experts import ensemble_and_folders
from engine.settings.fields import values_of, with_values
from engine.settings.run import AnyRunConfig
from engine.settings.view import ViewConfig, check_view_config, read_view_settings
from engine.training.interruption import Interruption
from router import Router

logger = logging.getLogger(__name__)


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Serves pictures until Ctrl-C or SIGTERM; the exit code."""
    config = read_view_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    check_view_config(config)
    from engine.viewer.server import Viewer  # here: viser is optional

    run = open_run(config)
    renewed: Callable[[Run], Run] | None = None
    if config.iteration == -1 and config.run is not None:
        renewed = partial(with_newest_router, folder=config.run, eval_temperature=config.overrides.eval_temperature)
    elif config.iteration == -1:
        renewed = partial(with_newest_expert, config=config)
    viewer = Viewer(
        run,
        host=config.host,
        port=config.port,
        budget=config.budget_ms / 1000,
        width=config.width,
        renewed=renewed,
    )
    try:
        with Interruption() as stop:
            print(*viewer.lines(), sep="\n", flush=True)
            viewer.serve(stop)
    finally:
        viewer.close()
    print("viewer stopped")
    return 0


def open_run(config: ViewConfig) -> Run:
    """The run of checked settings; of one expert alone, a run whose mixture is that expert."""
    given = values_of(config.overrides) | ({"quiet": True} if config.quiet else {})
    if config.run is not None:
        iteration = None if config.iteration == -1 else config.iteration
        run = load_run(config.run, iteration=iteration, overrides=given, needed="none")
        return blended_fast(run) if config.fast else run
    ensemble, folders = ensemble_and_folders(config.overrides.expert)
    given = {name: value for name, value in given.items() if value is not None}
    kept = {"save_path": next(iter(folders.values())), "load_iteration": config.iteration}
    run = new_run(with_values(AnyRunConfig(), given | kept), ensemble)
    run = blended_fast(run) if config.fast else run
    expert = run.experts[0]
    return replace(run, iteration=expert.provenance.iteration, router=run.router.eval().requires_grad_(False))


def with_newest_expert(run: Run, *, config: ViewConfig) -> Run:
    """The run of one expert with its newest iteration that is saved; the run itself where there is none newer.

    A folder that is being written to is left for the next time.
    """
    folder = next(iter(ensemble_and_folders(config.overrides.expert)[1].values()))
    try:
        if newest_expert_iteration(folder) <= run.iteration:
            return run
        newer = open_run(config)
    except user_errors() as error:
        logger.debug("no newer iteration: %s", error)
        return run
    logger.info("showing iteration %d", newer.iteration)
    return newer


def newest_expert_iteration(folder: Path) -> int:
    """The newest iteration that all parts of an expert have, those of its segments too; -1 where there is none."""
    found: dict[Path, int] = {}
    for path in (*folder.glob("point_cloud/iteration_*"), *folder.glob("*/point_cloud/iteration_*")):
        number = path.name.removeprefix("iteration_")
        if number.isdecimal():
            found[path.parent] = max(found.get(path.parent, -1), int(number))
    return min(found.values(), default=-1)


def with_newest_router(run: Run, *, folder: Path, eval_temperature: float | None) -> Run:
    """The run with the newest router that is saved, of the same experts; the run itself where there is none newer.

    A folder that cannot be read at the moment, as one that is being written to, is left for the next time.
    """
    newest = max(saved_iterations(folder), default=run.iteration)
    if newest == run.iteration:
        return run
    try:
        saved = load_checkpoint(checkpoint_folder(folder, newest))
    except user_errors() as error:
        logger.debug("no newer iteration: %s", error)
        return run
    if _tables(saved.router) != _tables(run.router):  # a run of other experts was begun in the folder
        return run
    router = saved.router.eval().requires_grad_(False).to(run.device)
    if eval_temperature is not None:
        router.eval_temperature = eval_temperature
    logger.info("showing iteration %d", newest)
    return replace(run, router=router, iteration=newest)


def _tables(router: Router) -> list[object]:
    """The experts of a router and the sizes of their routing tables."""
    return [router.expert_names, *(parameter.shape for parameter in router.features.parameters())]
