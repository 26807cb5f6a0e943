"""Pictures as an expert: they are found by the camera, at any size that its image has, and nothing else is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera
from PIL import Image

from experts import EXPERTS, CheckpointError, LoadOptions, load_expert
from experts.base import Expert, Provenance
from experts.pictures import has_pictures, splat_of
from experts.recognition import expert_of_folder, model_folder
from experts.videos.model import Videos
from tests.small_world import FRAMES, HEIGHT, WIDTH, Images, camera

CAMERAS = {"cam00": camera(0), "cam01": camera(1)}
PIXELS = np.random.default_rng(3).integers(0, 256, size=(2, FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def expert() -> Videos:
    expert = Videos()
    expert.show(CAMERAS, Images(PIXELS), num_frames=FRAMES, provenance=Provenance(files=(), iteration=0))
    return expert


def sized(width: int, height: int, **change: object) -> Camera:
    """cam01 with an image of another size."""
    own = CAMERAS["cam01"]
    x, y = width / own.width, height / own.height
    lens = {"fx": own.fx * x, "fy": own.fy * y, "cx": own.cx * x, "cy": own.cy * y}
    return replace(own, **lens, width=width, height=height, **change)


def test_a_camera_shows_its_own_picture_at_every_frame(expert: Videos) -> None:
    assert isinstance(expert, Expert) and has_pictures(expert)
    for index, own in enumerate(CAMERAS.values()):
        for frame in range(FRAMES):
            image = expert.picture(own, float(frame))
            torch.testing.assert_close(image, torch.from_numpy(PIXELS[index, frame]).permute(2, 0, 1) / 255)


def test_a_smaller_image_of_a_camera_shows_means_of_pixels(expert: Videos) -> None:
    small = expert.picture(sized(WIDTH // 2, HEIGHT // 2), 1)
    blocks = expert.picture(CAMERAS["cam01"], 1).view(3, HEIGHT // 2, 2, WIDTH // 2, 2)
    torch.testing.assert_close(small, blocks.mean(dim=(2, 4)))


def test_a_larger_image_of_a_camera_is_refused(expert: Videos) -> None:
    with pytest.raises(CheckpointError, match="no picture of a camera"):
        expert.picture(sized(2 * WIDTH, 2 * HEIGHT), 1)


@pytest.mark.parametrize("change", [{"fx": 30.0}, {"cy": 9.0}])
def test_another_lens_at_the_same_place_has_no_picture(expert: Videos, change: dict[str, float]) -> None:
    with pytest.raises(CheckpointError, match="the nearest with one is cam01"):
        expert.picture(replace(CAMERAS["cam01"], **change), 0)


def test_a_free_camera_is_refused_by_name_and_place(expert: Videos) -> None:
    free = camera(0)
    free.world_to_camera[0, 3] += 0.01
    message = r"^Videos: has no picture of a camera at \(0.19, -?0, -?0\), the nearest with one is cam00; show a camera"
    with pytest.raises(CheckpointError, match=message):
        expert.picture(free, 0)


@pytest.mark.parametrize("frame", [-1, FRAMES, 0.5])
def test_a_frame_without_a_picture_is_refused(expert: Videos, frame: float) -> None:
    with pytest.raises(CheckpointError, match=f"no picture of frame {frame:g}, but of frames 0 to {FRAMES - 1}"):
        expert.picture(CAMERAS["cam00"], frame)


def test_there_are_no_gaussians(expert: Videos) -> None:
    splat = splat_of(expert.picture(CAMERAS["cam00"], 0))
    assert expert.num_gaussians == 0 and expert.rows(0) == slice(0, 0)
    assert splat.alpha.eq(1).all() and splat.depth.isnan().all()
    for asked in (lambda: expert.at(0), lambda: expert.colour(splat, CAMERAS["cam00"], frame=0)):
        with pytest.raises(CheckpointError, match="Videos: has pictures of cameras, and no Gaussians"):
            asked()


def test_a_folder_of_pictures_is_recognised(tmp_path: Path) -> None:
    kept = {"videos": "cam00.mp4", "images": "cam00/00000.png"}
    for name, file in kept.items():
        path = tmp_path / name / file
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        spec = expert_of_folder(tmp_path / name, None, experts=EXPERTS.values())
        assert spec is EXPERTS["Videos"]
        with pytest.raises(
            CheckpointError, match=r"looks like Videos \(pictures of cameras\), STG expected; give it to"
        ):
            load_expert("STG", tmp_path / name, LoadOptions())


def test_pictures_beside_a_model_do_not_hide_it(tmp_path: Path) -> None:
    model = tmp_path / "models" / "stg" / "point_cloud" / "iteration_1"
    model.mkdir(parents=True)
    (tmp_path / "models" / "shots").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "models" / "shots" / "00000.png")
    assert model_folder(tmp_path / "models", None, experts=EXPERTS.values()) == tmp_path / "models" / "stg"


def test_a_file_is_no_folder_of_pictures(tmp_path: Path) -> None:
    file = tmp_path / "cam00.mp4"
    file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="give the folder that holds the videos of all cameras"):
        load_expert("Videos", file, LoadOptions())
