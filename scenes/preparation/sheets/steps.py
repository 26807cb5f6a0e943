"""The images of a prepared scene, as steps: the contact sheet, and cameras and points in space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from common.maths.tensors import quantised
from scenes.points.files import MODEL_POINTS, read_points
from scenes.preparation.report import PreparedCloud, PrepareReport, StepReport
from scenes.preparation.sfm.models import camera_numbers
from scenes.preparation.sheets.contact_sheet import write_sheet
from scenes.preparation.sheets.overview import write_overview
from scenes.preparation.steps import FOLDER, PreparationStep, opened
from scenes.types import SceneError

_VERSION = 1
SHEET, OVERVIEW = f"{FOLDER}/contact_sheet.png", f"{FOLDER}/overview.png"


def show_prepared(report: PrepareReport) -> tuple[StepReport, ...]:
    """Write SHEET and OVERVIEW below the scene's folder, for the clip's first frame; returns the steps this took.

    SceneError where an image or model is unreadable or the disk full.
    """
    name = report.root.resolve().name
    cloud = next(cloud for cloud in report.clouds if cloud.frame == report.start)
    sheet_title = f"{name}: {len(report.images)} cameras, frame {report.start}"
    overview_title = f"{name}: {cloud.registered} cameras, {cloud.points:,} points, frame {report.start}"
    cameras = {name: camera_numbers(camera) for name, camera in report.cameras.items()}
    with opened(report.root) as bench:
        bench.run(
            PreparationStep(
                name="contact_sheet",
                version=_VERSION,
                inputs=list(report.images.values()),
                options={"title": sheet_title},
                outputs=[SHEET],
                make=_written(SHEET, lambda path: write_sheet(report.images, path, title=sheet_title)),
            )
        )
        bench.run(
            PreparationStep(
                name="overview",
                version=_VERSION,
                inputs=[_points_file(cloud)],
                options={"title": overview_title, "cameras": cameras},
                outputs=[OVERVIEW],
                make=_written(OVERVIEW, lambda path: _overview(report, cloud, path, overview_title)),
            )
        )
    return tuple(bench.reports)


def _written(name: str, write: Callable[[Path], None]) -> Callable[[Path], Any]:
    def make(scratch: Path) -> Any:
        path = scratch / name
        path.parent.mkdir(parents=True)
        write(path)

    return make


def _overview(report: PrepareReport, cloud: PreparedCloud, path: Path, title: str) -> None:
    stored = read_points(_points_file(cloud))
    colours = quantised(torch.from_numpy(stored.colours)).numpy()
    write_overview(report.cameras, stored.positions, colours, path, title=title)


def _points_file(cloud: PreparedCloud) -> Path:
    for name in MODEL_POINTS:
        if (cloud.model / name).is_file():
            return cloud.model / name
    raise SceneError(f"{cloud.model}: holds no points3D.bin; remove the folder and prepare the scene again")
