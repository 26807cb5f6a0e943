"""Poses against images: coloured points, projected by each pose, are compared with every camera's image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from common.wording import first_and_more
from scenes.points.cloud import PointCloud
from scenes.points.visibility import project
from scenes.types import Scene

MOST_POINTS = 20_000  # that are compared
FEWEST_POINTS = 50  # in an image, below which it is not judged
BETTER = 0.15  # correlation by which another camera's image has to fit better than the own; right poses win by 0.25
UNRELATED = 0.3  # correlation below which a pose does not fit its image; right poses have 0.6 or more
CLEAR = 0.5  # correlation from which points and an image belong together


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseFits:
    """The correlation of points' colours with the images that they are projected into."""

    names: tuple[str, ...]  # of the cameras
    own: tuple[float | None, ...]  # of each pose with its own image; None: too few points to tell
    best: tuple[int, ...]  # index of the image that each pose fits best
    best_fit: tuple[float, ...]

    @property
    def mistaken(self) -> dict[str, str]:
        """The cameras whose poses fit another camera's image better, with that camera."""
        rows = zip(self.names, self.own, self.best, self.best_fit, strict=True)
        return {
            name: self.names[best]
            for name, own, best, fit in rows
            if own is not None and fit >= CLEAR and fit - own >= BETTER
        }

    def warnings(self) -> list[str]:
        """Lines about poses in another order than the images, and about single ones that fit nothing."""
        mistaken = self.mistaken
        if mistaken:
            pairs = ", ".join(f"{pose}'s pose shows {image}'s image" for pose, image in list(mistaken.items())[:4])
            more = f" and {len(mistaken) - 4} more" if len(mistaken) > 4 else ""
            return [
                f"cameras and images are in different orders: {pairs}{more}; rows of poses_bounds.npy belong to the "
                "cameras in the natural order of their names: put the rows or the names in order"
            ]
        judged = [own for own in self.own if own is not None]
        if not judged:
            return []
        middle = float(np.median(judged))
        if middle < UNRELATED:
            return [
                f"the start points do not fit the images (median correlation {middle:.2f}): they live in another "
                "world frame than the cameras, or the cameras are wrong; use points and cameras of one reconstruction"
            ]
        lost = [name for name, own in zip(self.names, self.own, strict=True) if own is not None and own < UNRELATED]
        if middle < CLEAR or not lost:
            return []
        return [
            f"the pose of {first_and_more(lost)} does not fit its image (correlation with the start points below "
            f"{UNRELATED:g}, {middle:.2f} for the others); mend the pose, or leave the camera out"
        ]


def fit_poses(scene: Scene, cloud: PointCloud, *, frame: int = 0) -> PoseFits:
    """Compare every pose with every camera's image at a frame, by the brightness of the points that it shows.

    Correlation does not depend on exposure. Points that something hides only lower it.
    """
    step = max(1, cloud.count // MOST_POINTS)
    positions = cloud.positions[::step]
    brightness = cloud.colours[::step].double().mean(dim=1).numpy()
    images = [scene.frames.read(view, frame).astype(np.float64).mean(axis=2) for view in range(len(scene.views))]
    fits = []
    for view in scene.views:
        pixels, _, inside = project(positions, view.camera)
        shares = (pixels[inside] / torch.tensor([view.camera.width, view.camera.height])).numpy()
        fits.append([_correlation(brightness[inside.numpy()], image, shares) for image in images])
    table = np.array(fits)
    best = np.where(np.isnan(table), -1.0, table).argmax(axis=1)
    return PoseFits(
        names=tuple(view.name for view in scene.views),
        own=tuple(None if np.isnan(own) else float(own) for own in table.diagonal()),
        best=tuple(best.tolist()),
        best_fit=tuple(table[range(len(table)), best].tolist()),
    )


def _correlation(brightness: np.ndarray, image: np.ndarray, shares: np.ndarray) -> float:
    """Pearson's, of points' brightness [n] and of an image at shares [n, 2] of its width and height."""
    if len(brightness) < FEWEST_POINTS:
        return float("nan")
    height, width = image.shape
    column, row = (shares * [width, height]).astype(int).T
    shown = image[row.clip(0, height - 1), column.clip(0, width - 1)]
    if brightness.std() == 0 or shown.std() == 0:
        return float("nan")
    return float(np.corrcoef(brightness, shown)[0, 1])
