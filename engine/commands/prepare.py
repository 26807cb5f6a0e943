"""Prepare a scene for the experts, from its videos or images: python moegs.py prepare KIND SCENE."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from common.text.wording import counted, duration
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.parsing.paths import check_folder, check_target
from engine.settings.prepare import options_of, read_prepare_settings
from engine.training.interruption import Interruption
from scenes.layouts import PREPARATIONS
from scenes.preparation.report import PreparedCloud, PrepareReport, StepReport
from scenes.preparation.sfm.matching import pycolmap_module
from scenes.preparation.sheets.steps import OVERVIEW, SHEET, show_prepared

logger = logging.getLogger(__name__)


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """The command's exit code: 0 when all is there. The summary goes to standard output, the rest to standard error."""
    set_up_logging(quiet="--quiet" in argv, debug="--debug" in argv)
    config = read_prepare_settings(argv, prog=prog, description=description)
    root = cast(Path, config.scene)
    check_folder("SCENE", root)
    check_target("SCENE", root)
    pycolmap_module()  # first: it answers SIGTERM by a trace of the stack, until Interruption takes the signal over
    with Interruption() as interruption, interruption.at_once():
        report = PREPARATIONS[config.kind].run(root, options_of(config))
        _log(report)
        steps = (*report.steps, *show_prepared(report))
    for line in preparation_summary(report, steps):
        print(line)
    return 0


def _log(report: PrepareReport) -> None:
    for note in report.notes:
        logger.info("%s", note)
    for line in report.repaired:
        logger.warning("repaired %s", line)
    for cloud in report.clouds:
        if len(cloud.tried) > 1:
            attempts = (f"attempt {number}: {line}" for number, line in enumerate(cloud.tried, 1))
            logger.info("frame %d: %s", cloud.frame, "; ".join(attempts))
        if cloud.registered < cloud.cameras:
            logger.warning("frame %d: %d of %d cameras see points", cloud.frame, cloud.registered, cloud.cameras)


def preparation_summary(report: PrepareReport, steps: Sequence[StepReport]) -> list[str]:
    """Summary of a preparation for people: one line for the models, one for the work, one for the files."""
    done = [step for step in steps if step.outcome == "done"]
    work = f"{counted(len(done), 'step')} done, {len(steps) - len(done)} skipped; "
    work += f"{duration(sum(step.seconds for step in done))} in all"
    models = [step.seconds for step in done if step.name.startswith("colmap_")]
    if models:
        work += f", {sum(models) / len(models):.1f} s per COLMAP model"
    files = [*(f"{name} ({counted(count, 'point')})" for name, count in report.cloud_sizes.items()), SHEET, OVERVIEW]
    return [f"{report.root}: {_models(report.clouds)}", work, f"written: {', '.join(files)}"]


def _models(clouds: Sequence[PreparedCloud]) -> str:
    """ "28/28 cameras, 7,412 points, median reprojection error 0.7 px"; of several frames the range of each number."""
    least = min(clouds, key=lambda cloud: cloud.registered)
    points = _range([f"{cloud.points:,}" for cloud in sorted(clouds, key=lambda cloud: cloud.points)])
    error = _range([f"{cloud.median_error:.2g}" for cloud in sorted(clouds, key=lambda cloud: cloud.median_error)])
    counts = f"{least.registered}/{least.cameras} cameras, {points} points, median reprojection error {error} px"
    return counts if len(clouds) == 1 else f"{len(clouds)} frames, each with {counts}"


def _range(ordered: Sequence[str]) -> str:
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"
