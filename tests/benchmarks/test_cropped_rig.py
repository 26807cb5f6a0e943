"""A cropped rig shows the middle of the same views."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cropped_rig import crop_rig, main
from engine.errors import ConfigError
from scenes import SceneOptions, load_scene
from tests.scenes.scene_folders import Rig, write_n3v_scene

RIG = Rig(cameras=[f"cam{number:02d}" for number in range(6)], frames=3, width=64, height=48, focal=60.0)


def gradient(camera: int, frame: int, width: int, height: int) -> np.ndarray:
    """Smooth, so that encoding changes little: red grows to the right, green downwards."""
    image = np.full((height, width, 3), 20 + 10 * camera + 5 * frame, np.uint8)
    image[..., 0] = 3 * np.arange(width)
    image[..., 1] = 4 * np.arange(height)[:, None]
    return image


@pytest.fixture
def source(tmp_path):
    write_n3v_scene(tmp_path / "source", RIG, image=gradient)
    (tmp_path / "source" / "points3D.ply").write_text("points")
    return tmp_path / "source"


def opened(folder, root):
    return load_scene(folder, SceneOptions(cache=root / f"cache_{folder.name}", progress=False))


def test_pixels_rays_and_start_points_are_those_of_the_middle(source, tmp_path, capsys):
    target = tmp_path / "target"
    assert main([str(source), str(target), "--size", "32x20"]) == 0
    assert "6 cameras: cam00 cam01 cam02 cam03 cam04 cam05" in capsys.readouterr().out
    whole, cropped = opened(source, tmp_path), opened(target, tmp_path)
    for index, (full, part) in enumerate(zip(whole.views, cropped.views, strict=True)):
        assert (part.camera.width, part.camera.height) == (32, 20)
        assert (part.camera.cx, part.camera.cy) == (16, 10)
        assert part.camera.fx == pytest.approx(full.camera.fx)
        assert np.allclose(part.camera.world_to_camera, full.camera.world_to_camera, atol=1e-6)
        wanted = whole.frames.read(index, 2)[14:34, 16:48].astype(int)
        errors = np.abs(cropped.frames.read(index, 2).astype(int) - wanted).mean(axis=(0, 1))
        assert errors[:2].max() < 1.5 and errors[2] < 2, (
            "one pixel to the side would be 3 in red, one up or down 4 in green"
        )
    assert (target / "points3D.ply").read_text() == "points"
    assert cropped.frame_rate == whole.frame_rate


def test_a_calibration_of_other_pixels_gives_the_videos_focal_length(source, tmp_path):
    rows = np.load(source / "poses_bounds.npy")
    rows[:, [4, 9, 14]] *= 2
    np.save(source / "poses_bounds.npy", rows)
    crop_rig(source, tmp_path / "target", size=(32, 20))
    assert np.load(tmp_path / "target" / "poses_bounds.npy")[:, 14] == pytest.approx(60.0)


def test_cameras_are_chosen_by_number_or_name(source, tmp_path):
    chosen = crop_rig(source, tmp_path / "three", size=(32, 20), cameras=["3"])
    assert len(chosen) == 3 and chosen[0] == "cam00"
    assert [view.name for view in opened(tmp_path / "three", tmp_path).views] == chosen
    assert crop_rig(source, tmp_path / "named", size=(32, 20), cameras=["cam04", "cam01"]) == ["cam01", "cam04"]


@pytest.mark.parametrize(
    ("size", "cameras", "message"),
    [
        ((31, 20), [], "its width is 64 px, and 31 px of it are asked for"),
        ((32, 50), [], "its height is 48 px, and 50 px of it are asked for"),
        ((32, 20), ["7"], "--cameras is 7: give 2 to 6"),
        ((32, 20), ["cam9"], "--cameras cam9: .* has no such camera"),
    ],
)
def test_what_cannot_be_cropped_is_said(source, tmp_path, size, cameras, message: str):
    with pytest.raises(ConfigError, match=message):
        crop_rig(source, tmp_path / "target", size=size, cameras=cameras)
    assert not (tmp_path / "target").exists()


def test_a_scene_is_not_written_over(source):
    with pytest.raises(ConfigError, match="holds a scene already"):
        crop_rig(source, source, size=(32, 20))
