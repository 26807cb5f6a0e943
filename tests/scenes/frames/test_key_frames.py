"""Frames that are decoded from a key frame on are those of decoding from the beginning, bit for bit."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from scenes.frames import video as video_module
from scenes.frames.video import decode_video, probe_video
from tests.scenes.frames.test_video_as_shown import write_cut_video
from tests.scenes.scene_folders import draw

FRAMES = [draw(0, frame, 64, 48) for frame in range(26)]
GOP = {"g": "6", "keyint_min": "6", "sc_threshold": "0"}


def write(path: Path, codec: str, **options: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={**GOP, **options})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


KINDS = {
    "plain.mp4": {"codec": "libx264", "bf": "0"},
    "b_frames.mp4": {"codec": "libx264", "bf": "3"},
    "b_frames.mkv": {"codec": "libx264", "bf": "3"},
    "open_groups.mp4": {"codec": "libx264", "bf": "3", "x264-params": "open-gop=1"},
    "refreshed.mp4": {"codec": "libx264", "x264-params": "intra-refresh=1:keyint=6"},
    "old.avi": {"codec": "mpeg4", "bf": "0"},
    "keys_alone.mp4": {"codec": "libx264", "g": "1"},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_part_of_a_video_is_as_in_the_whole(tmp_path, name):
    write(tmp_path / name, **KINDS[name])
    video = probe_video(tmp_path / name)
    whole = list(decode_video(video, 0, video.count, threads=1))
    for start in range(0, video.count, 5):
        for threads in (1, 4):
            count = min(8, video.count - start)
            part = list(decode_video(video, start, count, threads=threads))
            np.testing.assert_array_equal(part, whole[start : start + count])


def test_frames_that_an_edit_list_hides_are_not_counted(tmp_path):
    write_cut_video(tmp_path / "cut.mp4", FRAMES, hidden=4, b_frames=2)
    video = probe_video(tmp_path / "cut.mp4")
    whole = list(decode_video(video, 0, video.count, threads=1))
    assert video.count == len(FRAMES) - 4
    for start in range(video.count - 2):
        np.testing.assert_array_equal(list(decode_video(video, start, 2, threads=1)), whole[start : start + 2])


@pytest.mark.parametrize("name", ["plain.mp4", "b_frames.mp4", "b_frames.mkv", "keys_alone.mp4"])
def test_decoding_begins_at_the_key_frame_before(tmp_path, monkeypatch, name):
    """Then no frame is decoded before it."""
    write(tmp_path / name, **KINDS[name])
    video = probe_video(tmp_path / name)
    from_key_frame, found = video_module._from_key_frame, []

    def watched(*place, **options):
        for frame in from_key_frame(*place, **options):
            found.append(frame.pts)
            yield frame

    monkeypatch.setattr(video_module, "_from_key_frame", watched)
    assert len(list(decode_video(video, 20, 4, threads=1))) == len(found) == 4
