"""Agreement of cameras and matches: matches are verified by the epipolar lines of the cameras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenes.preparation.sfm.matching import ALL_CORES, pycolmap_module

FEWEST_MATCHES = 50  # of a camera, before they tell
# Of a camera's matches. Seen where right: 0.3 (little texture) to 1; where wrong: 0 to 0.07, but up to 0.4 in images
# so small that COLMAP's tolerance of 4 px forgives most.
LEAST_OF_KNOWN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Share of the verified matches that a model's cameras confirm; 0 without matches."""

    share: float
    by_camera: Mapping[str, float]  # of the cameras that have enough matches to tell

    @property
    def contradicted(self) -> tuple[str, ...]:
        """Cameras whose matches say that they are somewhere else; it tells where cameras are known beforehand."""
        return tuple(name for name, share in sorted(self.by_camera.items()) if share < LEAST_OF_KNOWN)


def verify_by(database: Path, model: Any, *, threads: int | None) -> Agreement:
    """Replace the verified matches by those near the epipolar lines of the model's cameras; says how they agree."""
    pycolmap = pycolmap_module()
    with pycolmap.Database.open(database) as store:
        for camera in model.cameras.values():
            store.update_camera(camera)
        names = {image.image_id: Path(image.name).stem for image in store.read_all_images()}
        before = _matches(store)
    pycolmap.guided_geometric_verification(model, database, num_threads=threads or ALL_CORES)
    with pycolmap.Database.open(database) as store:
        after = _matches(store)
    judged = {number: count for number, count in before.items() if count >= FEWEST_MATCHES}
    return Agreement(
        share=min(1.0, after.total() / before.total()) if before else 0.0,
        by_camera={names[number]: after[number] / count for number, count in judged.items()},
    )


def _matches(store: Any) -> Counter[int]:
    """Verified matches of each image."""
    pycolmap = pycolmap_module()
    counts: Counter[int] = Counter()
    for pair, count in zip(*store.read_two_view_geometry_num_inliers(), strict=True):
        for number in pycolmap.pair_id_to_image_pair(pair):
            counts[number] += count
    return counts
