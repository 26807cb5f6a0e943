"""Headers and time stamps of real files, compared between cameras."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from scenes import SceneOptions, load_scene
from scenes.footage import check_headers, headers_table
from scenes.frames.image_files import probe_images
from scenes.frames.sources import FrameSource
from scenes.frames.timing import Timing
from scenes.frames.video import Video, probe_video
from tests.scenes.scene_folders import Rig, draw, write_n3v_scene, write_video

SDR, PQ, HLG = 1, 16, 18  # transfers of ITU-T H.273
BT709, BT2020 = 1, 9


def images(count: int) -> list[np.ndarray]:
    return [draw(0, number, 64, 48) for number in range(count)]


def write_coded(
    path: Path, *, transfer: int = SDR, primaries: int = BT709, codec: str = "libx265", pixels: str = "yuv420p10le"
) -> None:
    """Four frames of which the file states transfer and primaries."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.codec_context.color_trc, stream.codec_context.color_primaries = transfer, primaries
        for image in images(4):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.color_trc, frame.color_primaries = transfer, primaries
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def rig_of(folder: Path, times: dict[str, list[int]], ending: str = "mp4") -> dict[str, FrameSource]:
    for name, stamps in times.items():
        write_video(folder / f"{name}.{ending}", images(len(stamps)), times=stamps)
    return {name: probe_video(folder / f"{name}.{ending}") for name in times}


def test_cameras_alike(tmp_path):
    checks = check_headers(rig_of(tmp_path, {f"cam0{index}": list(range(12)) for index in range(3)}))
    assert checks.warnings == ()
    row = checks.cameras[1]
    assert (row.name, row.frames, row.width, row.height, row.rate) == ("cam01", 12, 64, 48, 30)
    assert (row.first_time, row.bits, row.transfer, row.pixel_format) == (0, 8, "SDR", "yuv420p")
    assert row.gap == pytest.approx(1)
    lines = headers_table(checks)
    assert " ".join(lines[0].split()) == "camera frames size px fps first s gap frames format bits transfer"
    assert lines[2].split() == ["cam01", "12", "64x48", "30", "0.000", "1.0", "yuv420p", "8", "SDR"]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_camera_that_starts_late(tmp_path, ending):
    times = {name: list(range(12)) for name in ("cam00", "cam01", "cam02")} | {"cam03": list(range(3, 15))}
    checks = check_headers(rig_of(tmp_path, times, ending))
    assert checks.cameras[3].first_time == pytest.approx(0.1, abs=0.001)
    (warning,) = checks.warnings
    assert "first time stamps differ" in warning
    assert "cam03 later by 3.0;" in warning


def test_first_time_stamps_of_videos_with_b_frames(tmp_path):
    for name, start in (("cam00", 0), ("cam01", 0), ("cam02", 2)):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=30, options={"bf": "3" if name == "cam01" else "0"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number, image in enumerate(images(12)):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = start + number, Fraction(1, 30)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    checks = check_headers({name: probe_video(tmp_path / f"{name}.mp4") for name in ("cam00", "cam01", "cam02")})
    assert [round(30 * row.first_time) for row in checks.cameras] == [0, 0, 2]
    (warning,) = checks.warnings
    assert "cam02 later by 2.0;" in warning


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_gap_that_others_lack(tmp_path, ending):
    whole, dropped = list(range(30)), [*range(10), *range(12, 32)]
    checks = check_headers(rig_of(tmp_path, {"cam00": whole, "cam01": dropped, "cam02": whole}, ending))
    assert checks.cameras[1].gap == pytest.approx(3, abs=0.1)
    (warning,) = checks.warnings
    assert "cam01 3.0 frames before frame 10; from there on" in warning
    assert "ffmpeg -i cam01.mp4 -vf fps=30 new/cam01.mp4" in warning


def test_a_gap_that_all_share(tmp_path):
    dropped = [*range(10), *range(12, 32)]
    checks = check_headers(rig_of(tmp_path, dict.fromkeys(("cam00", "cam01", "cam02"), dropped)))
    assert checks.cameras[0].gap == pytest.approx(3, abs=0.1)
    assert checks.warnings == ()


def test_frame_counts_that_differ():
    timing = Timing(rate=Fraction(30))
    counts = {"cam00": 300, "cam01": 300, "cam02": 297}
    sources = {
        name: Video(path=Path("unused.mp4"), count=count, width=64, height=48, timing=timing)
        for name, count in counts.items()
    }
    (warning,) = check_headers(sources).warnings
    assert warning.startswith("frame counts differ: 2 cameras with 300, cam02 297;")


def test_images_have_no_times(tmp_path):
    write_n3v_scene(tmp_path / "room", Rig(frames=2), pattern="{name}/{frame}.png")
    folder = tmp_path / "room" / "cam00"
    checks = check_headers({"cam00": probe_images({0: folder / "0.png", 1: folder / "1.png"})})
    assert checks.warnings == ()
    assert headers_table(checks)[1].split() == ["cam00", "2", "64x48", *"------"]


@pytest.mark.parametrize(
    ("transfer", "primaries", "codec", "pixels", "warned"),
    [
        (PQ, BT2020, "libx265", "yuv420p10le", "video is HDR (PQ, 10 bit; cam00 and 2 more): frames are read as 8-bit"),
        (HLG, BT2020, "libx265", "yuv420p10le", "video is HDR (HLG, 10 bit; cam00 and 2 more): frames are read as 8"),
        (PQ, BT709, "libx264", "yuv420p", "video is HDR (PQ, 8 bit; cam00 and 2 more): frames are read as 8-bit"),
        (SDR, BT2020, "libx264", "yuv420p10le", "video has BT.2020 colours (cam00 and 2 more): frames are read as if"),
    ],
)
def test_hdr_is_warned_of_at_loading(tmp_path, caplog, transfer, primaries, codec, pixels, warned):
    scene = loaded(tmp_path, transfer=transfer, primaries=primaries, codec=codec, pixels=pixels)
    (message,) = caplog.messages
    assert warned in message
    assert "ffmpeg -i cam00.mp4 -vf" in message
    assert [note for note in scene.notes if note.startswith(warned)] == [scene.notes[-1]]
    row = check_headers(scene.sources).cameras[0]
    assert (row.transfer, row.pixel_format) == ({PQ: "PQ", HLG: "HLG", SDR: "SDR"}[transfer], pixels)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_ten_bits_without_hdr_are_noted(tmp_path, caplog, codec):
    scene = loaded(tmp_path, codec=codec)
    assert not caplog.messages
    assert "video has 10 bits (cam00 and 2 more): frames are read with 8 bits" in scene.notes
    assert check_headers(scene.sources).cameras[2].bits == 10


def test_eight_bits_are_not_noted(tmp_path, caplog):
    scene = loaded(tmp_path, codec="libx264", pixels="yuv420p")
    assert not caplog.messages
    assert not [note for note in scene.notes if "bit" in note or "HDR" in note]
    assert list(scene.sources) == [view.name for view in scene.views]


def loaded(folder: Path, **coding):
    """A scene of three cameras with a coding."""
    write_n3v_scene(folder / "room")
    for name in ("cam00", "cam01", "cam02"):
        write_coded(folder / "room" / f"{name}.mp4", **coding)
    return load_scene(folder / "room", SceneOptions(cache=folder / "cache", progress=False, needed="none"))
