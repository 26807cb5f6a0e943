"""The results of an earlier training in an expert's folder, which --overwrite sets aside."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from common.disk.aside import set_aside
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


def set_training_aside(folder: Path) -> None:
    """Move the results of a training to `<folder>/old-N`, and log that; the frame cache and files of others stay.

    Its state for --resume, which is large, is removed.
    """
    entries = old_results(folder)
    aside = set_aside(folder, entries)
    for path in sorted((folder / STATE_FOLDER).glob("*")):
        if STATE.fullmatch(path.name):
            path.unlink()
    if aside is not None:
        logger.info("moved the earlier training to %s; delete it if you do not need it", aside)


def old_results(folder: Path) -> list[Path]:
    """List the files and folders that a training left in its folder, but for its state."""
    inside = [
        path
        for name, pattern in FOLDERS.items()
        for path in sorted((folder / name).glob("*"))
        if pattern.fullmatch(path.name)
    ]
    return [*inside, *(path for name in FILES if (path := folder / name).is_file())]
