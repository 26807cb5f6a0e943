"""Pictures beside a scene on disk: sizes, frames, where they are decoded to, and footage that is no other method's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.runs.device import CPU
from engine.runs.experts.loading import open_expert
from engine.runs.experts.pictures import decode_pictures
from engine.runs.scene import open_scene
from engine.settings.parsing.fields import with_values
from engine.settings.training.run import AnyRunConfig
from experts import CheckpointError
from experts.videos.model import Videos
from router import ensemble_of
from scenes import Scene
from tests.scenes.scene_folders import Rig, write_n3v_frames, write_n3v_scene

RIG = Rig(frames=3, width=64, height=48)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A scene of videos, and beside it `pictures`, files of other bytes with the same frames."""
    write_n3v_scene(tmp_path / "film", RIG)
    shutil.copytree(tmp_path / "film", tmp_path / "pictures", ignore=shutil.ignore_patterns("*.npy"))
    for path in (tmp_path / "pictures").iterdir():
        path.write_bytes(path.read_bytes() + b"\0\0\0\x08free")
    return tmp_path / "film"


def opened(film: Path, pictures: Path, **settings: object) -> tuple[Scene, Videos]:
    given = {"source_path": film, "save_path": film.parent / "run", "quiet": True, **settings}
    config = with_values(AnyRunConfig(), given)
    scene = open_scene(config, ensemble_of(["Videos"]))
    expert = open_expert(config, scene, "Videos", pictures, device=CPU, by_name=True)
    assert isinstance(expert, Videos)
    return scene, expert


@pytest.mark.parametrize("resolution", [-1, 32])
def test_pictures_of_the_scenes_full_size_are_made_smaller_as_its_frames_are(film: Path, resolution: int) -> None:
    scene, expert = opened(film, film.parent / "pictures", resolution=resolution)
    decode_pictures([expert])
    for index, view in enumerate(scene.views):
        for frame in range(RIG.frames):
            image = (255 * expert.picture(view.camera, frame)).round().byte().permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(image, scene.frames.read(index, frame))


def test_pictures_of_the_size_that_is_used_are_taken_too(film: Path) -> None:
    small = film.parent / "small"
    write_n3v_frames(small, Rig(frames=3, width=32, height=24))
    _, expert = opened(film, small, resolution=32)
    assert len(expert.provenance.files) == 9
    with pytest.raises(CheckpointError) as refusal:
        opened(film, small, resolution=16)
    assert str(refusal.value) == (
        f"{small / 'cam00'}: 32x24 px, and cam00 of this scene has 16x12 or 64x48; render it at this size, or give the "
        "--resolution that it was rendered at"
    )


@pytest.mark.parametrize(("given", "cache"), [({}, "pictures/frame_cache"), ({"cache_path": "own"}, "own/Videos")])
def test_they_are_decoded_beside_them_or_below_the_cache(film: Path, given: dict[str, str], cache: str) -> None:
    settings = {name: film.parent / value for name, value in given.items()}
    _, expert = opened(film, film.parent / "pictures", **settings)
    assert not (film.parent / cache).exists()
    decode_pictures([expert])
    files = sorted(path.name for path in (film.parent / cache).rglob("*.npy"))
    assert files == ["cam00_0-2.npy", "cam01_0-2.npy", "cam02_0-2.npy"]


def test_more_frames_than_the_clip_are_read_from_the_first(film: Path) -> None:
    scene, expert = opened(film, film.parent / "pictures", duration=2)
    assert expert.num_frames == scene.num_frames == 2


def test_a_later_clip_needs_pictures_of_its_own_frames_alone(film: Path) -> None:
    with pytest.raises(CheckpointError, match="has 3 frames, and the clip 2 from frame 1 on: its first one has to be"):
        opened(film, film.parent / "pictures", start_timestamp=1)
    later = film.parent / "later"
    write_n3v_frames(later, Rig(frames=2, start=1))
    scene, expert = opened(film, later, start_timestamp=1)
    error = 255 * expert.picture(scene.views[1].camera, 1).permute(1, 2, 0).numpy() - scene.frames.read(1, 1)
    assert np.abs(error).mean() < 3  # H.264 against PNG


def linked(path: Path, to: Path) -> None:
    to.symlink_to(path)


@pytest.mark.parametrize("give", [None, linked, shutil.copyfile])
def test_the_scenes_own_footage_is_no_expert(film: Path, give: Callable[[Path, Path], object] | None) -> None:
    folder = film
    if give is not None:
        folder = film.parent / "given"
        folder.mkdir()
        for path in film.glob("*.mp4"):
            give(path, folder / path.name)
    with pytest.raises(CheckpointError, match="is the scene's own footage of cam00, by which the mixture is scored"):
        opened(film, folder)
