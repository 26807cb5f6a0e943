"""Frame rates of videos, and warnings where frame N is not the same moment."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from scenes import SceneError, SceneOptions, load_scene
from scenes.frames.clip import Clip, choose_clip
from scenes.frames.sources import FrameSource
from scenes.frames.timing import Timing, timing_of
from scenes.frames.video import Video, probe_video
from tests.scenes.scene_folders import Rig, draw, write_n3v_scene, write_video


def clip_of(sources: dict[str, FrameSource], **options) -> Clip:
    return choose_clip(sources, SceneOptions(cache=Path("unused"), **options))


def video(rate: Fraction | int, count: int, uneven: float = 0.0) -> Video:
    timing = Timing(rate=Fraction(rate), uneven=uneven)
    return Video(path=Path("unused.mp4"), count=count, width=64, height=48, timing=timing)


def images(count: int) -> list[np.ndarray]:
    return [draw(0, number, 64, 48) for number in range(count)]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("rate", [25, 60])
def test_even_videos(tmp_path, ending, rate):
    write_video(tmp_path / f"a.{ending}", images(12), rate=rate)
    found = probe_video(tmp_path / f"a.{ending}")
    assert found.count == 12
    assert found.timing is not None
    assert found.timing.rate == rate
    assert found.timing.uneven <= 2 * 0.0005 * 60  # Matroska rounds times to milliseconds


def test_the_stated_rate_is_kept_where_it_fits():
    ntsc = Fraction(30000, 1001)
    times = [round(number / ntsc, 3) for number in range(300)]
    assert timing_of(times, ntsc).rate == ntsc
    assert timing_of(times, Fraction(25)).rate == pytest.approx(29.97, rel=1e-4)
    assert timing_of([0.0], ntsc) == Timing(rate=ntsc)
    assert timing_of([0.0], None) is None


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_dropped_frame_is_warned_of(tmp_path, caplog, ending):
    times = [*range(15), *range(16, 31)]
    write_video(tmp_path / f"cam00.{ending}", images(30), times=times)
    found = probe_video(tmp_path / f"cam00.{ending}")
    late = np.array(times) * 29 / 30 - np.arange(30)
    assert found.timing.uneven == pytest.approx(np.abs(late).max(), abs=0.03)
    clip = clip_of({"cam00": found})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    start = (
        r"cam00: frame rate is not constant, frames are up to 0.5 frames \(1[67] ms\) from an even 29(.032)? per second"
    )
    assert re.match(start, record.getMessage())
    assert clip.notes == (record.getMessage(),)


def test_decoding_times_that_start_unevenly_are_checked_by_the_times_of_showing(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "4", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        packets = [
            packet
            for image in (*images(12), None)
            for packet in stream.encode(None if image is None else av.VideoFrame.from_ndarray(image, format="rgb24"))
        ]
        packets[0].dts -= 1
        for packet in packets:
            container.mux(packet)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        gaps = np.diff([entry.timestamp for entry in stream.index_entries])
        assert gaps.max() == 2 * np.median(gaps)
    timing = probe_video(tmp_path / "a.mp4").timing
    assert timing.rate == 30
    assert timing.uneven < 1e-6


def test_other_frame_rates_are_refused():
    with pytest.raises(
        SceneError, match=r"cam00 has 30 frames per second, cam01 has 60; frame N .* -i unused.mp4 -vf fps=30"
    ):
        clip_of({"cam00": video(30, 30), "cam01": video(60, 60)})
    assert clip_of({"cam00": video(30, 30), "cam01": video(60, 60)}, duration=1).count == 1


def test_slightly_other_frame_rates_are_warned_of_where_the_clip_is_long(caplog):
    rig = {"cam00": video(30, 900), "cam01": video(Fraction(30000, 1001), 900)}
    clip = clip_of(rig)
    expected = (
        "frame rates differ: cam01 has 29.97 frames per second, cam00 has 30; "
        "at the end of the clip they are 0.9 frames apart"
    )
    assert clip.notes == (expected,)
    assert caplog.messages == [expected]
    caplog.clear()
    assert clip_of(rig, duration=300).notes == ()
    assert not caplog.messages


def test_one_warning_for_all_uneven_cameras():
    clip = clip_of({"cam00": video(30, 9, uneven=0.6), "cam01": video(30, 9, uneven=1.2), "cam02": video(30, 9)})
    (warning,) = clip.notes
    assert warning.startswith("cam01: frame rate is not constant, frames are up to 1.2 frames (40 ms)")
    assert "; 1 more camera with such frames;" in warning


def test_a_scene_has_the_frame_rate_of_its_videos(tmp_path):
    write_n3v_scene(tmp_path / "room", Rig(frames=4))
    for name in ("cam00", "cam01", "cam02"):
        write_video(tmp_path / "room" / f"{name}.mp4", images(4), rate=25)
    options = SceneOptions(cache=tmp_path / "cache", progress=False)
    assert load_scene(tmp_path / "room", options).frame_rate == 25
    assert load_scene(tmp_path / "room", replace(options, test_cameras=())).frame_rate == 25
    write_n3v_scene(tmp_path / "stills", pattern="{name}/{frame}.png")
    assert load_scene(tmp_path / "stills", options).frame_rate is None
