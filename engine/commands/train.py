"""Train a router: the three training scripts, and `moegs.py train` for any experts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import ranks
from common.text.wording import script_command
from engine.compression.packing import compress_run
from engine.runs.alone import alone
from engine.runs.device import peak_memory
from engine.settings.parsing.command_line import INTERRUPTED, exit_code, set_up_logging
from engine.settings.parsing.config_file import write_config_file
from engine.settings.training.experts import ensemble_and_folders
from engine.settings.training.run import RunConfig
from engine.settings.training.run_checks import check_config
from engine.settings.training.train import CONFIG_FILE, read_any_train_settings, read_train_settings
from engine.training.loop import train
from engine.training.router.moved import found_again
from engine.training.router.opening import open_router_task, schedule
from engine.training.router.seeds import is_finished, iterations_left, seed_configs, set_seeds_aside
from engine.training.router.task import RouterTask
from router import ENSEMBLES, Ensemble, render_command

logger = logging.getLogger(__name__)


def main(ensemble_name: str, argv: Sequence[str] | None = None) -> int:
    """A training script: its exit code (0 done, 2 wrong use or data, 130 interrupted and saved)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    with exit_code(arguments) as code:
        set_up_logging(quiet="--quiet" in arguments, debug="--debug" in arguments)
        ensemble = ENSEMBLES[ensemble_name]
        code.value = train_router(read_train_settings(ensemble, arguments), ensemble)
    return code.value


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Trains a router of any experts, each given by --expert NAME=PATH; returns the exit code."""
    set_up_logging(quiet="--quiet" in argv, debug="--debug" in argv)
    config = read_any_train_settings(argv, prog=prog, description=description)
    ensemble, _ = ensemble_and_folders(config.experts.expert)
    return train_router(config, ensemble)


def train_router(config: RunConfig, ensemble: Ensemble) -> int:
    """Trains the router, or with --seeds one after another; the exit code."""
    config = found_again(config, ensemble)
    check_config(config, ensemble)
    save_path = config.output.save_path
    assert save_path is not None, "required"
    with alone(save_path, "--save_path"):
        if config.training.seeds is not None:
            return train_seeds(config, ensemble, save_path)
        task = open_router_task(config, ensemble)
        if not train(task, schedule(task), quiet=config.machine.quiet):
            return INTERRUPTED
        compress(config)
        log_end(task, save_path)
    return 0


def train_seeds(config: RunConfig, ensemble: Ensemble, save_path: Path) -> int:
    """Trains a router for each seed that is not finished, and ends at an interrupt; the exit code."""
    configs = [each for each in seed_configs(config, save_path) if not is_finished(each, ensemble)]
    for number, each in enumerate(configs):
        later = sum(map(iterations_left, configs[number + 1 :]))
        task = open_router_task(each, ensemble, later=later)
        if number == 0:
            begin_seeds(config, save_path, task)
        logger.info("%s: seed %d, %d of %d to train", save_path, each.training.seed, number + 1, len(configs))
        if not train(task, schedule(task), quiet=config.machine.quiet):
            return INTERRUPTED
        compress(each)
        if number + 1 == len(configs):
            log_end(task, save_path)
        del task  # its experts leave the GPU before those of the next are loaded
    return 0


def compress(config: RunConfig) -> None:
    """Leaves a small copy of a trained run in its folder, where asked for."""
    save_path = config.output.save_path
    if config.output.compress and save_path is not None and ranks.is_first():
        machine, data = config.machine, config.data
        overrides: dict[str, Any] = {"device": machine.device, "backend": machine.backend, "quiet": machine.quiet}
        overrides |= {"cache_path": data.cache_path, "cache_gb": data.cache_gb}  # a run's folder alone does not choose
        with ranks.apart():
            compress_run(save_path, overrides=overrides)


def begin_seeds(config: RunConfig, save_path: Path, task: RouterTask) -> None:
    """Leaves the settings of all seeds for --resume; with --overwrite sets aside the earlier run of every seed."""
    if not ranks.is_first():
        return
    write_config_file(save_path / CONFIG_FILE, config)
    if config.output.overwrite:
        assert task.save_path is not None
        set_seeds_aside(save_path, task.experts, but=task.save_path)


def log_end(task: RouterTask, save_path: Path) -> None:
    """Logs the memory that a complete training needed, and the command that renders it."""
    memory = peak_memory(task.run.device)
    if memory is not None:
        logger.info("peak GPU memory of tensors: %d MiB", memory)
    last = max(task.start, task.last)
    logger.info(
        "training finished; to render and score it: %s",
        script_command(
            *render_command(task.run.ensemble).split(),
            *("--save_path", save_path.absolute()),
            *("--iteration", last, "--skip_train"),
        ),
    )
