"""Show a run or an expert live in a browser: python moegs.py view SAVE_PATH."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from common.disk.locks import is_written_to
from engine.errors import ConfigError, user_errors
from engine.runs.experts.loading import open_expert
from engine.runs.experts.pictures import refuse_pictures
from engine.runs.lone_expert import lone_expert_run
from engine.runs.opening import assemble, new_router
from engine.runs.run import Run, blended_fast
from engine.runs.saved.checkpoint import checkpoint_folder, load_checkpoint, saved_experts, saved_iterations
from engine.runs.saved.loading import load_run
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.parsing.fields import values_of, with_values
from engine.settings.results.view import ViewConfig, check_view_config, read_view_settings
from engine.settings.training.experts import ensemble_and_folders, named_others
from engine.settings.training.run import AnyRunConfig
from engine.training.interruption import Interruption
from engine.viewer.renewal import Renewal
from experts.kept_frames import ExpertFrames
from router import Ensemble, Router
from router.router import subset

logger = logging.getLogger(__name__)

WAITING = 1.0  # seconds between two looks for a first iteration


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Serves pictures until Ctrl-C or SIGTERM; the exit code."""
    config = read_view_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    check_view_config(config)
    from engine.viewer.server import Viewer, check_address  # here: viser is optional

    check_address(config.host, config.port)
    if not first_is_saved(config):
        print("viewer stopped")
        return 0
    renewed = renewal_of(config) if config.iteration == -1 else None  # what is saved meanwhile is newer
    run = open_run(config)
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
        experts = saved_experts(config.run, iteration)
        reason = "the viewer flies to other cameras; view the other experts with --without"
        refuse_pictures(named_others(experts, config.without), reason)
        given["without"] = config.without
        run = load_run(config.run, iteration=iteration, overrides=given, needed="none")
        return blended_fast(run) if config.fast else run
    experts = ensemble_and_folders(config.overrides.expert)[0].experts
    refuse_pictures(experts, "the viewer flies to other cameras; view another expert")
    run = lone_expert_run(given | {"load_iteration": config.iteration, "quiet": config.quiet})
    return blended_fast(run) if config.fast else run


def first_is_saved(config: ViewConfig) -> bool:
    """Waits for the first iteration that a training in an expert's folder saves; False where a signal ends that.

    Where nothing is trained there it does not wait.
    """
    if config.run is not None:
        return True
    folder = _expert_settings(config)[2]
    waits = newest_expert_iteration(folder) < 0 and is_written_to(folder)
    if waits:
        print(f"waiting for the first iteration that is saved in {folder} (Ctrl-C stops it)", flush=True)
    with Interruption() as stop:
        while waits and not stop.requested:
            time.sleep(WAITING)
            waits = newest_expert_iteration(folder) < 0 and is_written_to(folder)
    return not stop.requested


def renewal_of(config: ViewConfig) -> Renewal:
    """The look for newer iterations of the run, or of the expert, that is shown."""
    if config.run is None:
        folder = _expert_settings(config)[2]
        return Renewal(partial(newest_expert_folders, folder), partial(with_newest_expert, config=config))
    temperature = config.overrides.eval_temperature
    files = expert_files(config.run)
    opened = partial(
        with_newest_router, folder=config.run, files=files, eval_temperature=temperature, without=config.without
    )
    return Renewal(partial(newest_router_folders, config.run), opened)


def expert_files(folder: Path) -> dict[str, dict[str, str]]:
    """The files of the experts that a run's newest iteration was trained with: their hashes by name and path."""
    return {record.name: record.files for record in load_checkpoint(checkpoint_folder(folder)).experts}


def newest_router_folders(folder: Path) -> list[Path]:
    """The folder of the newest iteration that a run has saved, in a list that may be empty."""
    return [folder / "router" / f"iteration_{number}" for number in saved_iterations(folder)[-1:]]


def newest_expert_folders(folder: Path) -> list[Path]:
    """The folders of the newest iteration that all parts of an expert have; none where there is none."""
    name = f"point_cloud/iteration_{newest_expert_iteration(folder)}"
    return sorted([*folder.glob(name), *folder.glob(f"*/{name}")])


def _expert_settings(config: ViewConfig) -> tuple[AnyRunConfig, Ensemble, Path]:
    """The settings of a run of one expert alone, its ensemble and the expert's folder."""
    ensemble, folders = ensemble_and_folders(config.overrides.expert)
    folder = next(iter(folders.values()))
    given = {name: value for name, value in values_of(config.overrides).items() if value is not None}
    kept = {"save_path": folder, "load_iteration": config.iteration, "quiet": config.quiet}
    return with_values(AnyRunConfig(), given | kept), ensemble, folder


def with_newest_expert(run: Run, *, config: ViewConfig) -> Run:
    """The run of one expert with its newest iteration that is saved; the run itself where there is none newer.

    A folder that is being written to is left for the next time.
    """
    settings, ensemble, folder = _expert_settings(config)
    try:
        if newest_expert_iteration(folder) <= run.iteration:
            return run
        expert = open_expert(settings, run.scene, ensemble.experts[0], folder, device=run.device, by_name=True)
        router = new_router(settings, (expert,)).eval().requires_grad_(False)
        # What is rendered to open it asks for depths, which half precision has not.
        compute = replace(run.compute, backend="cuda") if config.fast else run.compute
        newer = assemble(settings, ensemble, compute=compute, scene=run.scene, experts=(expert,), router=router)
        newer = blended_fast(newer) if config.fast else newer
    except user_errors() as error:
        logger.debug("no newer iteration: %s", error)
        return run
    iteration = expert.provenance.iteration
    logger.info("showing iteration %d", iteration)
    # As much memory for kept frames as the old one had, whose frames still fill it.
    old = run.frames
    frames = ExpertFrames(most=old.most, shares=old.shares, precision=old.precision, spare=old.spare)
    return replace(newer, iteration=iteration, frames=frames)


def newest_expert_iteration(folder: Path) -> int:
    """The newest iteration that all parts of an expert have, those of its segments too; -1 where there is none."""
    found: dict[Path, int] = {}
    for path in (*folder.glob("point_cloud/iteration_*"), *folder.glob("*/point_cloud/iteration_*")):
        number = path.name.removeprefix("iteration_")
        if number.isdecimal():
            found[path.parent] = max(found.get(path.parent, -1), int(number))
    return min(found.values(), default=-1)


def with_newest_router(
    run: Run,
    *,
    folder: Path,
    files: Mapping[str, Mapping[str, str]],
    eval_temperature: float | None,
    without: Sequence[str] = (),
) -> Run:
    """The run with the newest router that is saved, of the same experts; the run itself where there is none newer.

    files: those of the experts that are shown, by name and path, with the hash of each. without: experts that are left
    out. A folder that cannot be read at the moment, as one that is being written to, is left for the next time. Raises
    ConfigError where the folder holds a run of other experts by now, or of experts that were trained anew.
    """
    newest = max(saved_iterations(folder), default=run.iteration)
    if newest == run.iteration:
        return run
    try:
        saved = load_checkpoint(checkpoint_folder(folder, newest))
    except user_errors() as error:
        logger.debug("no newer iteration: %s", error)
        return run
    newer = saved.router
    if without:
        newer = subset(newer, named_others(newer.expert_names, without))
    if _tables(newer) != _tables(run.router):
        raise ConfigError(
            f"{folder}: holds a run of other experts by now, and iteration {newest} is not shown; start view again"
        )
    shown = [record for record in saved.experts if record.name in newer.expert_names]
    anew = [record.name for record in shown if record.files != files[record.name]]
    if anew:
        raise ConfigError(
            f"{folder}: {', '.join(anew)} has other files by now, and iteration {newest} is not shown; start view again"
        )
    router = newer.eval().requires_grad_(False).to(run.device)
    if eval_temperature is not None:
        router.eval_temperature = eval_temperature
    logger.info("showing iteration %d", newest)
    return replace(run, router=router, iteration=newest)


def _tables(router: Router) -> list[object]:
    """The experts of a router and the sizes of their routing tables."""
    return [router.expert_names, *(parameter.shape for parameter in router.features.parameters())]
