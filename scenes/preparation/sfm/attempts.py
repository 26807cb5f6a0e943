"""Attempts at a reconstruction: results, faults, and the choice of the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scenes.preparation.sfm.agreement import Agreement
from scenes.types import SceneError

WANTED_A_CAMERA = 50  # points; fewer: another attempt with settings that find more
FEWEST_POINTS = 100  # fewer of these, of those a camera, or larger errors than that: poor
FEWEST_A_CAMERA = 5
LARGEST_ERROR = 2.0  # px, median of the points' mean reprojection errors
LEAST_OF_FOUND = 0.8  # of the matches, with cameras found from them; right ones have 0.99, wrong ones were seen at 0.6
NAMED = 4  # cameras, before "and … more"


class NoPointsError(SceneError):
    """A reconstruction without a single point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudReport:
    """Result of finding cameras and points."""

    cameras: int
    registered: int  # cameras that see some of the points
    points: int
    median_error: float  # px; of the points' mean reprojection errors
    tried: tuple[str, ...]  # one line per attempt, with its result


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt's reconstruction (a pycolmap.Reconstruction; None where none came of it)."""

    settings: str
    are_known: bool  # the cameras, beforehand
    cameras: int
    lost: tuple[str, ...]  # cameras that see none of the points
    points: int
    median_error: float  # px; infinite without points
    agreement: Agreement
    model: Any

    @property
    def faults(self) -> tuple[str, ...]:
        """The reasons why it is poor; none where it may be used."""
        fewest = max(FEWEST_POINTS, FEWEST_A_CAMERA * self.cameras)
        contradicted = self.agreement.contradicted
        unsure = not self.are_known and self.agreement.share < LEAST_OF_FOUND
        table = {
            f"{self.points:,} points, at least {fewest} are expected": self.points < fewest,
            f"its error is above {LARGEST_ERROR:g} px": self.points > 0 and self.median_error > LARGEST_ERROR,
            f"not found: {_some(self.lost)}": not self.are_known and len(self.lost) > 0,
            f"only {self.agreement.share:.0%} of the matches confirm the cameras": unsure,
            f"the matches contradict {_some(contradicted)}": self.are_known and len(contradicted) > 0,
        }
        return tuple(fault for fault, is_true in table.items() if is_true)

    @property
    def is_enough(self) -> bool:
        return not self.faults and not self.lost and self.points >= WANTED_A_CAMERA * self.cameras

    @property
    def line(self) -> str:
        """ "8192 features, …: 28/28 cameras, 7,412 points, median reprojection error 0.7 px, 98% of the matches …" """
        error = f", median reprojection error {self.median_error:.2g} px" if self.points else ""
        return (
            f"{self.settings}: {self.cameras - len(self.lost)}/{self.cameras} cameras, {self.points:,} points{error}, "
            f"{self.agreement.share:.0%} of the matches confirm the cameras"
        )


def measured(settings: str, model: Any, names: Sequence[str], agreement: Agreement, *, are_known: bool) -> Attempt:
    """Make the attempt of a reconstruction of the cameras `names` (None: nothing came of it)."""
    errors: list[float] = []
    seen: set[str] = set()
    if model is not None:
        model.update_point_3d_errors()
        errors = [point.error for point in model.points3D.values()]
        images = (model.images[number] for number in model.reg_image_ids())
        seen = {Path(image.name).stem for image in images if image.num_points3D}
    return Attempt(
        settings=settings,
        are_known=are_known,
        cameras=len(names),
        lost=tuple(sorted(set(names) - seen)),
        points=len(errors),
        median_error=float(np.median(errors)) if errors else float("inf"),
        agreement=agreement,
        model=model,
    )


def best_of(attempts: Sequence[Attempt]) -> Attempt:
    """Choose the attempt that is not poor, has the most cameras, and of those the most points; the first of equals."""
    return max(attempts, key=lambda attempt: (not attempt.faults, -len(attempt.lost), attempt.points))


def reported(attempts: Sequence[Attempt], kept: Attempt, *, accept_poor: bool, place: str, advice: str) -> CloudReport:
    """Report on the attempt that is kept; SceneError where it is poor, naming what was tried.

    NoPointsError where it is empty, also with `accept_poor`.
    """
    tried = tuple(attempt.line for attempt in attempts)
    if kept.points == 0 or (kept.faults and not accept_poor):
        error = SceneError if kept.points else NoPointsError
        raise error(f"{place}: too poor: {'; '.join(kept.faults)}. Tried: {'; '.join(tried)}. {advice}")
    return CloudReport(
        cameras=kept.cameras,
        registered=kept.cameras - len(kept.lost),
        points=kept.points,
        median_error=kept.median_error,
        tried=tried,
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
