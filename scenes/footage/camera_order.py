"""Poses against images: coloured points, projected by each pose, are compared with every camera's image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from moegs_rasterizer import Camera

from common.text.wording import first_and_more
from scenes.footage.shared_points import Sightings, shown_values, shrunk_colours, sightings
from scenes.points.cloud import PointCloud

FEWEST_POINTS = 50  # in an image, below which it is not judged

# Correlations, measured on 8 synthetic and 28 real cameras with points of the same frame: right poses have 0.61 to 0.90
# with their own image, and 0.14 to 0.52 with the best other one. With points of another frame, before which people
# moved, the own falls to 0.0 in single cameras, to 0.5 in the median.
BETTER = 0.25  # by which another camera's image has to fit better than the own
RELATED = 0.4  # from which an image shows the points
UNRELATED = 0.3  # median of the cameras, below which the points are of another world
FACTORS = (0.75, 0.87, 1.0, 1.15, 1.33)  # of the focal lengths, that are compared
FOCAL_BETTER = 0.1  # median correlation by which another focal length has to fit better
NAMED = 4  # cameras in a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseFits:
    """The correlation of points' colours with the images that they are projected into."""

    names: tuple[str, ...]  # of the cameras
    points: tuple[int, ...]  # that each camera sees
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
            if own is not None and fit >= RELATED and fit - own >= BETTER
        }

    def warnings(self) -> list[str]:
        """One line about poses in another order than the images, or about points of another world."""
        mistaken = self.mistaken
        if len(mistaken) > 1:  # poses that changed places are two at least
            pairs = ", ".join(f"{pose}'s pose shows {image}'s image" for pose, image in list(mistaken.items())[:NAMED])
            more = f" and {len(mistaken) - NAMED} more" if len(mistaken) > NAMED else ""
            return [
                f"cameras and images are in different orders: {pairs}{more}; rows of poses_bounds.npy belong to the "
                "cameras in the natural order of their names: put the rows or the names in order"
            ]
        blind = [name for name, points in zip(self.names, self.points, strict=True) if points < FEWEST_POINTS]
        if 2 * len(blind) > len(self.names):
            return [
                f"the start points are outside the images of {first_and_more(blind)}: the poses are inverted or have "
                "other axes (poses_bounds.npy holds columns down, right, back, centre), or the points are of another "
                "scene"
            ]
        judged = [own for own in self.own if own is not None]
        middle = float(np.median(judged)) if judged else 1.0
        if middle < UNRELATED:
            return [
                f"the start points do not fit the images (median correlation {middle:.2f}): they live in another "
                "world frame than the cameras, or the cameras are wrong; use points and cameras of one reconstruction"
            ]
        return []


def fit_poses(cloud: PointCloud, seen: Sightings, names: Sequence[str], images: Sequence[np.ndarray]) -> PoseFits:
    """Compare every pose with every camera's image [h, w, 3], by the brightness of the points that it shows.

    Correlation does not depend on exposure. Points that something hides only lower it.
    """
    small = [shrunk_colours(image) for image in images]
    pairs = list(zip(small, images, strict=True))
    table = np.array(
        [
            [_correlation(cloud, seen, pose, shrunk, _scale(images[pose], image)) for shrunk, image in pairs]
            for pose in range(len(names))
        ]
    )
    best = np.where(np.isnan(table), -1.0, table).argmax(axis=1)
    return PoseFits(
        names=tuple(names),
        points=tuple(int(visible.sum()) for visible in seen.visible),
        own=tuple(None if np.isnan(own) else float(own) for own in table.diagonal()),
        best=tuple(best.tolist()),
        best_fit=tuple(table[range(len(table)), best].tolist()),
    )


def other_focal_length(cloud: PointCloud, cameras: Sequence[Camera], images: Sequence[np.ndarray]) -> float | None:
    """The factor of FACTORS by which the focal lengths fit the images clearly better; None where they are right."""
    small = [shrunk_colours(image) for image in images]
    fits = {}
    for factor in FACTORS:
        seen = sightings(cloud.positions, [replace(each, fx=each.fx * factor, fy=each.fy * factor) for each in cameras])
        own = [_correlation(cloud, seen, pose, small[pose], np.ones(2)) for pose in range(len(cameras))]
        fits[factor] = float(np.nanmedian(own)) if not np.isnan(own).all() else 0.0
    best = max(fits, key=lambda factor: fits[factor])
    return best if fits[best] - fits[1.0] >= FOCAL_BETTER else None


def _correlation(
    cloud: PointCloud, seen: Sightings, pose: int, shrunk: tuple[np.ndarray, int], scale: np.ndarray
) -> float:
    """Pearson's, of the brightness of the points that a pose sees and of an image there; nan where it is not known."""
    visible = seen.visible[pose]
    if visible.sum() < FEWEST_POINTS:
        return float("nan")
    brightness = cloud.colours[visible].double().mean(dim=1).numpy()
    shown = shown_values(seen.pixels[pose][visible] * scale, *shrunk).mean(axis=1)
    if brightness.std() == 0 or shown.std() == 0:
        return float("nan")
    return float(np.corrcoef(brightness, shown)[0, 1])


def _scale(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Ratio of two images' sizes, x before y: cameras may differ in size."""
    return np.array(other.shape[1::-1]) / np.array(own.shape[1::-1])
