"""Poses against images: coloured points, projected by each pose, are compared with every camera's image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.wording import first_and_more
from scenes.footage.shared_points import Sightings, shown_values
from scenes.points.cloud import PointCloud

FEWEST_POINTS = 50  # in an image, below which it is not judged
BETTER = 0.15  # correlation by which another camera's image has to fit better than the own; right poses win by 0.25
UNRELATED = 0.3  # correlation below which a pose does not fit its image; right poses have 0.6 or more
CLEAR = 0.35  # correlation from which points and an image belong together


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


def fit_poses(cloud: PointCloud, seen: Sightings, names: Sequence[str], images: Sequence[np.ndarray]) -> PoseFits:
    """Compare every pose with every camera's image [h, w, 3], by the brightness of the points that it shows.

    Correlation does not depend on exposure. Points that something hides only lower it.
    """
    brightness = cloud.colours.double().mean(dim=1).numpy()
    table = np.full((len(names), len(names)), np.nan)
    for pose, (places, visible) in enumerate(zip(seen.pixels, seen.visible, strict=True)):
        if visible.sum() < FEWEST_POINTS:
            continue
        for other, image in enumerate(images):
            shown = shown_values(places[visible] * _scale(images[pose], image), image).mean(axis=1)
            if brightness[visible].std() > 0 and shown.std() > 0:
                table[pose, other] = np.corrcoef(brightness[visible], shown)[0, 1]
    best = np.where(np.isnan(table), -1.0, table).argmax(axis=1)
    return PoseFits(
        names=tuple(names),
        own=tuple(None if np.isnan(own) else float(own) for own in table.diagonal()),
        best=tuple(best.tolist()),
        best_fit=tuple(table[range(len(table)), best].tolist()),
    )


def _scale(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Ratio of two images' sizes, x before y: cameras may differ in size."""
    return np.array(other.shape[1::-1]) / np.array(own.shape[1::-1])
