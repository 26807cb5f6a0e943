"""Train a router: the three training scripts, and `moegs.py train` for any experts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from common.wording import script_command
from engine.runs.device import peak_memory
from engine.settings.command_line import INTERRUPTED, exit_code, set_up_logging
from engine.settings.experts import ensemble_and_folders
from engine.settings.run import check_config
from engine.settings.train import read_any_train_settings, read_train_settings
from engine.training.loop import train
from engine.training.router.opening import open_router_task, schedule
from engine.training.router.task import RouterTask
from router import ENSEMBLES, render_command

logger = logging.getLogger(__name__)


def main(ensemble_name: str, argv: Sequence[str] | None = None) -> int:
    """A training script: its exit code (0 done, 2 wrong use or data, 130 interrupted and saved)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    with exit_code(arguments) as code:
        set_up_logging(quiet="--quiet" in arguments, debug="--debug" in arguments)
        ensemble = ENSEMBLES[ensemble_name]
        config = read_train_settings(ensemble, arguments)
        check_config(config, ensemble)
        task = open_router_task(config, ensemble)
        code.value = ended(task, complete=train(task, schedule(task), quiet=config.machine.quiet))
    return code.value


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Trains a router of any experts, each given by --expert NAME=PATH; returns the exit code."""
    set_up_logging(quiet="--quiet" in argv, debug="--debug" in argv)
    config = read_any_train_settings(argv, prog=prog, description=description)
    ensemble, _ = ensemble_and_folders(config.experts.expert)
    check_config(config, ensemble)
    task = open_router_task(config, ensemble)
    return ended(task, complete=train(task, schedule(task), quiet=config.machine.quiet))


def ended(task: RouterTask, *, complete: bool) -> int:
    """The exit code of a training; of a complete one the memory it needed and the command to render it are logged."""
    if not complete:
        return INTERRUPTED
    memory = peak_memory(task.run.device)
    if memory is not None:
        logger.info("peak GPU memory of tensors: %d MiB", memory)
    assert task.save_path is not None
    ensemble, last = task.run.ensemble, max(task.start, task.config.training.iterations)
    logger.info(
        "training finished; to render and score it: %s",
        script_command(
            *render_command(ensemble).split(),
            *("--save_path", task.save_path.absolute()),
            *("--iteration", last, "--skip_train"),
        ),
    )
    return 0
