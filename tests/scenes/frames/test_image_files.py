"""Images as frames: bits, alpha, EXIF rotation and endings."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from scenes import SceneError, SceneOptions, load_scene
from scenes.frames.image_files import IMAGE_SUFFIXES, decode_images, probe_images
from scenes.layouts import PREPARATIONS
from tests.scenes.preparation.stand_in import StandIn, options, videos_options
from tests.scenes.scene_folders import Rig, draw, rig_cameras, write_n3v_scene, write_technicolor_scene

RAMP = np.linspace(0, 65535, 64).round().astype(np.uint16)[None].repeat(48, 0)


def read(path: Path) -> np.ndarray:
    """The image as a frame, which has the size that its header tells."""
    images = probe_images({0: path})
    (frame,) = decode_images(images, 0, 1)
    assert frame.shape == (images.height, images.width, 3)
    assert frame.dtype == np.uint8
    return frame


def write_rgb48(path: Path, image: np.ndarray) -> None:
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = image.shape[1], image.shape[0], "rgb48be"
    encoder.time_base = Fraction(1, 30)
    frame = av.VideoFrame.from_ndarray(image, format="rgb48be")
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_of_16_bits(tmp_path, ending):
    Image.fromarray(RAMP).save(tmp_path / f"0.{ending}")
    np.testing.assert_array_equal(read(tmp_path / f"0.{ending}"), (RAMP // 256)[..., None].repeat(3, 2))


def test_rgb_of_16_bits(tmp_path):
    image = np.stack([RAMP, RAMP[:, ::-1], RAMP // 2], axis=2)
    write_rgb48(tmp_path / "0.png", image)
    np.testing.assert_array_equal(read(tmp_path / "0.png"), image // 256)


def test_floats_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "0.tif")
    with pytest.raises(SceneError, match=r"0.tif: 32 bits a pixel, 8 and 16 are supported; save the images as 8-bit"):
        read(tmp_path / "0.tif")


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_alpha_is_composited_on_black(tmp_path, ending):
    image = np.full((4, 5, 4), (200, 100, 50, 255), np.uint8)
    image[0, 0, 3], image[0, 1, 3] = 0, 51  # a fifth
    Image.fromarray(image).save(
        tmp_path / f"0.{ending}", **({"lossless": True, "exact": True} if ending == "webp" else {})
    )
    expected = image[..., :3].copy()
    expected[0, 0], expected[0, 1] = 0, (40, 20, 10)
    np.testing.assert_array_equal(read(tmp_path / f"0.{ending}"), expected)


def test_an_opaque_alpha_channel_changes_nothing(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    image[..., 3] = 255
    Image.fromarray(image).save(tmp_path / "0.png")
    np.testing.assert_array_equal(read(tmp_path / "0.png"), image[..., :3])


def test_a_transparent_colour_of_a_palette(tmp_path):
    image = Image.new("P", (4, 4))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "0.png", transparency=1)
    frame = read(tmp_path / "0.png")
    assert frame[0, 0].tolist() == [10, 20, 30]
    assert frame[0, 1].tolist() == [0, 0, 0]


def test_the_log_tells_of_alpha(tmp_path):
    def with_alpha(camera: int, frame: int, width: int, height: int) -> np.ndarray:
        return np.dstack([draw(camera, frame, width, height), np.full((height, width), 9 * frame, np.uint8)])

    options = SceneOptions(cache=tmp_path / "cache", progress=False)
    for name, image in (("room", draw), ("clear", with_alpha)):
        write_n3v_scene(tmp_path / name, pattern="{name}/{frame}.png", image=image)
        told = [note for note in load_scene(tmp_path / name, options).notes if "alpha" in note]
        assert told == ["images have an alpha channel, composited on black (cam00 and 2 more)"] * (name == "clear")


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_exif_rotation_is_told_and_not_applied(tmp_path, caplog, orientation, ending):
    write_n3v_scene(tmp_path / "room", pattern="{name}/{frame}." + ending)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in (tmp_path / "room" / "cam01").iterdir():
        Image.open(path).convert("RGB").save(path, exif=exif)
    scene = load_scene(tmp_path / "room", SceneOptions(cache=tmp_path / "cache", progress=False))
    assert np.abs(scene.frames.read(1, 3).astype(int) - draw(1, 3, 64, 48)).mean() < 5
    told = "images have an EXIF rotation, which is not applied: they are used as stored, 64x48 px (cam01); "
    told += "if they were calibrated upright, save them upright, without the EXIF entry"
    assert [note for note in scene.notes if "EXIF" in note] == ([] if orientation == 1 else [told])
    assert ("EXIF" in caplog.text) == (orientation != 1)


@pytest.mark.parametrize("ending", [*IMAGE_SUFFIXES, ".PNG"])
def test_scenes_of_every_ending(tmp_path, ending):
    write_n3v_scene(tmp_path / "room", pattern="{name}/{frame:06d}" + ending)
    scene = load_scene(tmp_path / "room", SceneOptions(cache=tmp_path / "cache", progress=False))
    assert scene.num_frames == 4
    wrong = np.abs(scene.frames.read(1, 3).astype(int) - draw(1, 3, 64, 48)).mean()
    assert wrong < (5 if ending in (".jpg", ".jpeg", ".webp") else 1e-9)


def turned(folder: Path, pattern: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in folder.glob(pattern):
        Image.open(path).convert("RGB").save(path, exif=exif)


def test_a_technicolor_scene_tells_it_too(tmp_path):
    write_technicolor_scene(tmp_path / "birthday")
    turned(tmp_path / "birthday", "*_03.png")
    asked = SceneOptions(cache=tmp_path / "cache", progress=False, layout="technicolor", needed="none")
    (note,) = [note for note in load_scene(tmp_path / "birthday", asked).notes if "EXIF" in note]
    assert "used as stored, 64x34 px (cam03)" in note


@pytest.mark.parametrize("kind", ["n3v", "videos", "technicolor"])
def test_every_preparation_tells_it(tmp_path, kind):
    root, start = tmp_path / "rig", 0
    if kind == "technicolor":
        write_technicolor_scene(root)
        start = 1
    else:
        write_n3v_scene(root, pattern="{name}/{frame}.jpg")
    if kind == "videos":
        (root / "poses_bounds.npy").unlink()
    turned(root, "*_03.png" if kind == "technicolor" else "cam01/*.jpg")
    make = videos_options if kind == "videos" else options
    prepare = partial(PREPARATIONS[kind].run, sfm=StandIn(rig=rig_cameras(Rig())).sfm())
    notes = prepare(root, make(start=start)).notes
    camera = "cam03" if kind == "technicolor" else "cam01"
    assert [f"({camera})" in note for note in notes if "EXIF rotation, which is not applied: they are" in note] == [
        True
    ]
