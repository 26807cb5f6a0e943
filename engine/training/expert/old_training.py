"""The results of an earlier training in an expert's folder, which --overwrite sets aside."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from common.disk.aside import set_aside
from common.disk.leftovers import unfinished_folder
from engine.checks.experts import EXPERT_REPORT
from engine.outputs.files import REPORT_FILE
from engine.settings.training.train_expert_reading import EXPERT_CONFIG_FILE
from engine.training.curve import CURVE_FILE
from engine.training.expert.saves import STATE_FOLDER
from engine.training.tensorboard import EVENTS_FOLDER
from experts.formats.cfg_args import CFG_ARGS

logger = logging.getLogger(__name__)

FILES = (CFG_ARGS, EXPERT_REPORT, EXPERT_CONFIG_FILE, REPORT_FILE, CURVE_FILE)
FOLDERS = {  # folder of a model -> names of the results in it; what else lies there is not ours
    "point_cloud": re.compile(r"iteration_\d+"),
    "test": re.compile(r"itrs_\d+"),
    EVENTS_FOLDER: re.compile(r"events\..+"),
}
STATE = re.compile(r"iteration_\d+\.pt")


def set_trainings_aside(folders: Sequence[Path]) -> None:
    """Move the results of trainings, each to its `<folder>/old-N`, and log that; caches and files of others stay.

    Their states for --resume, which are large, are removed. They go first: no training counts as finished then, so
    that after a kill --resume mixes no old model with new ones. After an error they are where they were.
    """
    with ExitStack() as stack:
        removed: list[tuple[Path, Path]] = []
        try:
            for folder in folders:
                for state in states_of(folder):
                    hidden = stack.enter_context(unfinished_folder(folder)) / state.name
                    os.rename(state, hidden)
                    removed.append((state, hidden))
            moved = [set_aside(folder, old_results(folder)) for folder in folders]
        except BaseException:
            for state, hidden in reversed(removed):
                os.rename(hidden, state)
            raise
    for aside in filter(None, moved):
        logger.info("moved the earlier training to %s; delete it if you do not need it", aside)


def states_of(folder: Path) -> list[Path]:
    """List the files from which a training can be continued."""
    return [path for path in sorted((folder / STATE_FOLDER).glob("*")) if STATE.fullmatch(path.name)]


def old_results(folder: Path) -> list[Path]:
    """List the files and folders that a training left in its folder, but for its state."""
    inside = [
        path
        for name, pattern in FOLDERS.items()
        for path in sorted((folder / name).glob("*"))
        if pattern.fullmatch(path.name)
    ]
    return [*inside, *(path for name in FILES if (path := folder / name).is_file())]
