"""Features and matches found once for the same images, cameras and settings, as finding them is most of the time."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from common.disk.files import file_hash
from scenes.preparation.sfm import mapping, triangulation
from scenes.preparation.sfm.known_cameras import copy_matches
from scenes.preparation.sfm.matching import SfmOptions, match_all, pycolmap_module


@dataclass(frozen=True)
class RememberedMatches:
    """`match_all` that copies what it found before into a database of the same images and cameras."""

    folder: Path  # of the databases it keeps
    kept: dict[tuple, Path] = field(default_factory=dict)

    def __call__(self, database: Path, images: Path, names: Sequence[str], options: SfmOptions) -> None:
        matched_by = replace(options, verify_by_cameras=False, two_view_points=False, accept_poor=False, threads=None)
        key = (matched_by, _cameras(database), *((name, file_hash(images / name)) for name in names))
        if key in self.kept:
            copy_matches(self.kept[key], database)
            return
        match_all(database, images, names, options)
        self.kept[key] = self.folder / f"{len(self.kept)}.db"
        shutil.copyfile(database, self.kept[key])

    def used_by(self, patch: pytest.MonkeyPatch) -> None:
        for module in (mapping, triangulation):
            patch.setattr(module, "match_all", self)


def _cameras(database: Path) -> tuple:
    """What matching reads of a database beside the images: who took them, and through which lenses."""
    with pycolmap_module().Database.open(database) as store:
        cameras = [
            (camera.camera_id, camera.model_name, camera.width, camera.height, tuple(camera.params))
            for camera in store.read_all_cameras()
        ]
        images = [(image.image_id, image.name, image.camera_id) for image in store.read_all_images()]
    return (*sorted(cameras), *sorted(images))
