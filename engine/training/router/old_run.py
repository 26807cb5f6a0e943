"""The results of an earlier run in a folder, which --overwrite sets aside."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.disk.aside import is_set_aside, set_aside
from common.text.wording import counted
from engine.outputs.files import FIGURE_FILE, REPORT_FILE
from engine.runs.saved.checkpoint import FACTS
from engine.runs.saved.expert_records import ExpertRecord, bundle_folder
from engine.settings.parsing.config_file import read_object
from engine.settings.training.train import CONFIG_FILE
from engine.training.curve import CURVE_FILE
from engine.training.tensorboard import EVENTS_FOLDER
from experts.base import CheckpointError
from experts.formats.cfg_args import read_cfg_args

logger = logging.getLogger(__name__)

FILES = ("mean_metrics.json", CURVE_FILE, REPORT_FILE, FIGURE_FILE, CONFIG_FILE)
COMPRESSED = "compressed"  # folder of a small copy of the run
FOLDERS = {  # folder of a run -> names of the results in it; what else lies there is not ours
    "router": re.compile(r"iteration_\d+"),
    "test": re.compile(r"itrs_\d+(_.+)?"),
    "train": re.compile(r"itrs_\d+(_.+)?"),
    EVENTS_FOLDER: re.compile(r"events\..+"),
}


def set_run_aside(save_path: Path, experts: Sequence[ExpertRecord]) -> None:
    """Move the results of a run to `<save_path>/old-N`, and log that; the frame cache and files of others stay.

    experts: those of the new run. Folders that they are read from stay too.
    """
    entries = old_results(save_path, experts)
    aside = set_aside(save_path, entries)
    if aside is not None:
        logger.info("moved the earlier run to %s (%s); delete it if you do not need it", aside, _counted(entries))


def old_results(save_path: Path, experts: Sequence[ExpertRecord]) -> list[Path]:
    """List the files and folders that a run left in its folder, but for those that hold one of some experts.

    They are its checkpoints, scores, images, videos and settings, the bundle of its experts, and exported copies.
    """
    used = [Path(record.folder).resolve() for record in experts]
    copies = dict.fromkeys([*_bundles(save_path), *_exports(save_path)])
    free = [copy for copy in copies if not any(folder.is_relative_to(copy.resolve()) for folder in used)]
    files = [path for name in FILES if (path := save_path / name).is_file()]
    compressed = [save_path / COMPRESSED] if (save_path / COMPRESSED / CONFIG_FILE).is_file() else []
    return [*_folders(save_path), *files, *free, *compressed]


def _folders(save_path: Path) -> Iterator[Path]:
    for name, pattern in FOLDERS.items():
        yield from (path for path in sorted((save_path / name).glob("*")) if pattern.fullmatch(path.name))


def _bundles(save_path: Path) -> Iterator[Path]:
    """The copies of experts that a run's checkpoints name; other folders in `experts` may be the user's trainings."""
    for facts in sorted((save_path / "router").glob(f"iteration_*/{FACTS}")):
        try:
            records = [ExpertRecord.from_json(entry) for entry in read_object(facts)["experts"]]
        except (KeyError, TypeError, ValueError, OSError):  # a damaged checkpoint names no copies
            continue
        yield from (bundle for record in records if (bundle := bundle_folder(record, save_path)).is_dir())


def _exports(save_path: Path) -> Iterator[Path]:
    """The folders that `export` wrote directly below a run's: their cfg_args names the run."""
    for folder in sorted(path for path in save_path.glob("*") if path.is_dir() and not is_set_aside(path)):
        try:
            settings = read_cfg_args(folder) or {}
        except (CheckpointError, OSError):
            continue
        if settings.get("save_path") == str(save_path.absolute()):
            yield folder


def _counted(entries: Sequence[Path]) -> str:
    checkpoints = sum(entry.parent.name == "router" for entry in entries)
    return f"{counted(checkpoints, 'checkpoint')} and {counted(len(entries) - checkpoints, 'other result')}"
