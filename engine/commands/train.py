"""Train a router: the three training scripts, and `moegs.py train` for any experts."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence

from engine.errors import ConfigError
from engine.runs.device import peak_memory
from engine.runs.expert_records import bundle_expert, record_expert
from engine.runs.opening import new_run
from engine.settings.command_line import INTERRUPTED, exit_code, set_up_logging
from engine.settings.config_file import write_config_file
from engine.settings.experts import ensemble_and_folders
from engine.settings.run import RunConfig, check_config, evaluation_iterations, expert_folders, save_iterations
from engine.settings.train import CONFIG_FILE, read_any_train_settings, read_train_settings
from engine.training.loop import Schedule, train
from engine.training.router import RouterTask
from engine.training.router_resume import check_router_folder, resume_newest
from engine.training.router_schedule import make_optimiser
from router import ENSEMBLES, Ensemble, is_published

logger = logging.getLogger(__name__)


def main(ensemble_name: str, argv: Sequence[str] | None = None) -> int:
    """A training script: its exit code (0 done, 2 wrong use or data, 130 interrupted and saved)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    with exit_code(arguments) as code:
        set_up_logging(quiet="--quiet" in arguments)
        ensemble = ENSEMBLES[ensemble_name]
        config = read_train_settings(ensemble, arguments)
        check_config(config, ensemble)
        task = open_router_task(config, ensemble)
        if train(task, schedule(task), quiet=config.machine.quiet):
            log_end(task)
        else:
            code.value = INTERRUPTED
    return code.value


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Trains a router of any experts, each given by --expert NAME=PATH; returns the exit code."""
    set_up_logging(quiet="--quiet" in argv)
    config = read_any_train_settings(argv, prog=prog, description=description)
    ensemble, _ = ensemble_and_folders(config.experts.expert)
    check_config(config, ensemble)
    task = open_router_task(config, ensemble)
    if not train(task, schedule(task), quiet=config.machine.quiet):
        return INTERRUPTED
    log_end(task)
    return 0


def open_router_task(config: RunConfig, ensemble: Ensemble) -> RouterTask:
    """The router's training, fresh or where it was saved; writes config.json, and the bundle where asked for."""
    save_path = config.output.save_path
    if save_path is None:
        raise ConfigError("--save_path is missing: give the folder of the results")
    check_router_folder(config, save_path)
    run = new_run(config, ensemble)
    folders = expert_folders(config, ensemble)
    experts = tuple(record_expert(expert, folders[expert.name]) for expert in run.experts)
    optimiser = make_optimiser(run.router, config.training)
    start = 0
    if config.output.resume:
        start = resume_newest(run, optimiser, save_path=save_path, seed=config.training.seed, records=experts)
    if config.output.overwrite:
        shutil.rmtree(save_path / "router", ignore_errors=True)
    logger.info("settings: %s", write_config_file(save_path / CONFIG_FILE, config))
    if config.output.bundle:
        for record in experts:
            logger.info("bundled: %s", bundle_expert(record, save_path))
    return RouterTask(run, optimiser, config, start=start, save_path=save_path, experts=experts)


def schedule(task: RouterTask) -> Schedule:
    """The first, last, saving and evaluating iterations of a router's training."""
    config, ensemble = task.config, task.run.ensemble
    if task.start >= config.training.iterations:
        logger.info("already at iteration %d of %d: nothing left to train", task.start, config.training.iterations)
    return Schedule(
        start=task.start,
        last=config.training.iterations,
        saves=save_iterations(config, ensemble),
        evaluations=evaluation_iterations(config, ensemble),
    )


def log_end(task: RouterTask) -> None:
    """Logs the memory that was needed, and the command that renders the run."""
    memory = peak_memory(task.run.device)
    if memory is not None:
        logger.info("most GPU memory in tensors at a time: %d MiB", memory)
    assert task.save_path is not None
    ensemble, last = task.run.ensemble, max(task.start, task.config.training.iterations)
    script = f"render_{ensemble.name}.py" if is_published(ensemble) else "moegs.py render"
    logger.info(
        "done; render it with: python %s --save_path %s --iteration %d", script, task.save_path.absolute(), last
    )
