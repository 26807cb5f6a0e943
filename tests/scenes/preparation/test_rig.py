from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenes import SceneError
from scenes.frames.clip import Clip
from scenes.frames.video import Video, decode_keyframes, probe_video
from scenes.preparation.rig import LATER, described_motion, motion_of, phase_shifts, size_notes
from tests.scenes.scene_folders import write_video

FRAMES = max(LATER) + 2
RNG = np.random.default_rng(5)
GRAIN = RNG.normal(0, 2, (360, 480 + 60, 3)).astype(np.float32)  # each frame takes another part of it

Move = Callable[[int], tuple[float, float, float]]  # frame -> shift x, y in px, zoom


def patches(rows: int, columns: int, side: int) -> np.ndarray:
    """Grey patches of about `side` px that run into each other."""
    coarse = Image.fromarray(RNG.integers(0, 256, (rows, columns, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((columns * side, rows * side), Image.Resampling.BICUBIC).convert("L"))


SCENE = patches(60, 80, 10)
ACTOR = patches(12, 12, 17)[:200, :200]


def film(
    path: Path,
    move: Move,
    *,
    actor: bool = True,
    texture: bool = True,
    frames: int = FRAMES,
    key_frames_every: int = 250,
) -> Video:
    """A camera of 480 x 360 px before a textured wall; an actor, a sixth of the image, walks through it."""
    images = []
    for number in range(frames):
        wall = np.full_like(SCENE, 128) if not texture else SCENE.copy()
        if actor and texture:
            wall[200:400, 180 + 4 * number : 380 + 4 * number] = ACTOR
        x, y, zoom = move(number)
        frame = Image.fromarray(wall).transform(
            (480, 360), Image.Transform.AFFINE, (zoom, 0, 160 + x, 0, zoom, 120 + y), Image.Resampling.BICUBIC
        )
        left = 7 * number % 60
        noise = GRAIN[:, left : left + 480]
        images.append(np.clip(np.asarray(frame)[..., None] + noise, 0, 255).astype(np.uint8))
    write_video(path, images, key_frames_every=key_frames_every)
    return probe_video(path)


def whole(video: Video) -> Clip:
    return Clip(start=0, count=video.count, available=video.count)


def test_a_still_camera_is_still_though_an_actor_passes(tmp_path: Path) -> None:
    video = film(tmp_path / "cam00.mp4", lambda frame: (0, 0, 1))
    motion = motion_of(video, whole(video))
    assert motion.judged and not motion.moves
    assert motion.still > 0.5 * motion.matched  # seen: 72 of 78


@pytest.mark.parametrize(
    "move",
    [
        pytest.param(lambda frame: (0.04 * frame, 0, 1), id="creeps"),  # 1.2 px in all
        pytest.param(lambda frame: (3.0 * frame, 1.0 * frame, 1), id="pans"),
        pytest.param(lambda frame: (2 * (-1) ** frame, 1.5 * (frame % 3), 1), id="shakes"),
        pytest.param(lambda frame: (-0.5 * frame, -0.4 * frame, 1 + 0.002 * frame), id="zooms"),
        pytest.param(lambda frame: (150.0 * (frame > 20), 110.0 * (frame > 20), 1), id="jumps"),
    ],
)
def test_a_moving_camera_moves(tmp_path: Path, move: Move) -> None:
    video = film(tmp_path / "cam00.mp4", move)
    motion = motion_of(video, whole(video))
    assert motion.moves
    assert "of" in described_motion(motion)


def test_motion_after_the_first_frames_is_seen_in_key_frames(tmp_path: Path) -> None:
    late, shortly = max(LATER) + 2, max(LATER) + 4
    video = film(
        tmp_path / "cam00.mp4",
        lambda frame: (6.0 * (frame >= late), 0, 1),
        actor=False,
        frames=shortly + 2,
        key_frames_every=shortly,
    )
    assert len(list(decode_keyframes(video, late, 6))) == 1
    assert motion_of(video, whole(video)).moves


def test_images_are_judged_as_videos_are(tmp_path: Path) -> None:
    from scenes.frames.image_files import numbered_images, probe_images

    for number in range(4):
        Image.fromarray(SCENE[9 * number :][:360, :480]).save(tmp_path / f"{number}.png")
    source = probe_images(numbered_images(tmp_path))
    assert motion_of(source, Clip(start=0, count=4, available=4)).moves
    assert not motion_of(source, Clip(start=0, count=1, available=4)).judged


def test_without_texture_nothing_is_said(tmp_path: Path) -> None:
    video = film(tmp_path / "cam00.mp4", lambda frame: (0, 0, 1), texture=False)
    motion = motion_of(video, whole(video))
    assert not motion.judged and not motion.moves


def test_a_shift_is_found_to_a_fraction_of_a_pixel() -> None:
    grid = np.arange(64.0)

    def blob(x: float, y: float) -> np.ndarray:
        return np.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / 18)[None]

    shift, _ = phase_shifts(blob(30, 30) + blob(40, 22), blob(32.3, 28.8) + blob(42.3, 20.8))
    assert shift[0] == pytest.approx([2.3, -1.2], abs=0.1)  # seen: 0.03


def test_damage_is_named(tmp_path: Path) -> None:
    video = film(tmp_path / "cam00.mp4", lambda frame: (0, 0, 1), frames=5)
    data = (tmp_path / "cam00.mp4").read_bytes()
    (tmp_path / "cam00.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(SceneError, match=r"cam00\.mp4"):
        motion_of(video, whole(video))


def test_differing_sizes_and_counts_are_told() -> None:
    videos = {
        name: Video(path=Path(f"{name}.mp4"), count=count, width=width, height=48)
        for name, count, width in (("cam00", 9, 64), ("cam01", 9, 64), ("cam02", 7, 32))
    }
    assert size_notes(videos) == [
        "cameras differ in frame size: 32x48 px: cam02; 64x48 px: cam00, cam01",
        "cameras differ in number of frames: 7 frames: cam02; 9 frames: cam00, cam01",
    ]
    assert size_notes({name: videos[name] for name in ("cam00", "cam01")}) == []
