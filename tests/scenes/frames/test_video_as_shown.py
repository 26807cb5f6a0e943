"""Frames of a video as players show them: turned, without hidden ones, without the cover."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from scenes import SceneError
from scenes.frames.orientation import UPRIGHT, orientation_of, shown
from scenes.frames.video import decode_keyframes, decode_video, probe_video
from tests.scenes.scene_folders import draw, write_video

ONE = 1 << 16
QUARTERS = np.array([[40, 90], [140, 220]], np.uint8)


def quarters() -> np.ndarray:
    """Grey 64 x 48 px of four brightnesses, so that each of the eight orientations looks different."""
    return np.repeat(QUARTERS.repeat(24, 0).repeat(32, 1)[..., None], 3, axis=2)


def quarters_of(frame: np.ndarray) -> np.ndarray:
    """Mean brightness of the four quarters of a frame."""
    height, width = frame.shape[0] // 2, frame.shape[1] // 2
    return frame.reshape(2, height, 2, width, 3).mean(axis=(1, 3, 4))


def frames_of(path: Path) -> list[np.ndarray]:
    video = probe_video(path)
    return list(decode_video(video, 0, video.count, threads=1))


def write_cut_video(path: Path, frames: list[np.ndarray], hidden: int, *, b_frames: int = 0) -> None:
    """A video whose first frames an edit list hides, as `ffmpeg -ss -c copy` makes it."""
    plain = path.with_name("plain.mp4")
    height, width = frames[0].shape[:2]
    with av.open(str(plain), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "4", "g": "12", "bf": str(b_frames)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with (
        av.open(str(plain)) as source,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as sink,
    ):
        stored = source.streams.video[0]
        copied = sink.add_stream_from_template(stored)
        cut = int(hidden / 30 / stored.time_base)
        for packet in source.demux(stored):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - cut, packet.dts - cut, copied
                sink.mux(packet)
    plain.unlink()


def moved_to_front(path: Path, kind: bytes) -> None:
    """Puts a box of an MP4's `moov` before the video's own one."""
    data = path.read_bytes()
    moov = data.index(b"moov") - 4
    size = struct.unpack(">I", data[moov : moov + 4])[0]
    boxes, at = [], moov + 8
    while at < moov + size:
        length = struct.unpack(">I", data[at : at + 4])[0]
        boxes.append(data[at : at + length])
        at += length
    boxes.sort(key=lambda box: (box[4:8] != b"mvhd", box[4:8] != kind))
    path.write_bytes(data[: moov + 8] + b"".join(boxes) + data[moov + size :])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_are_turned_as_players_turn_them(tmp_path, rotation, flip):
    write_video(tmp_path / "a.mp4", [quarters()] * 2, rotation=rotation, flip=flip)
    expected = np.rot90(QUARTERS, rotation // 90)  # counter-clockwise
    expected = expected[:, ::-1] if flip else expected
    video = probe_video(tmp_path / "a.mp4")
    assert (video.width, video.height) == ((64, 48) if rotation % 180 == 0 else (48, 64))
    frames = [*decode_video(video, 0, 2, threads=2), *decode_keyframes(video, 0, 1)]
    assert len(frames) == 3
    for frame in frames:
        assert frame.shape == (video.height, video.width, 3)
        assert np.abs(quarters_of(frame) - expected).max() < 3


def test_an_upright_frame_is_the_same_array():
    frame = quarters()
    assert orientation_of(np.array([ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30])) == UPRIGHT
    assert shown(frame, UPRIGHT) is frame


def test_a_slanted_video_is_refused(tmp_path):
    write_video(tmp_path / "a.mp4", [quarters()], rotation=30)
    with pytest.raises(SceneError, match=r"a.mp4: is shown turned by another angle than 90, .*; encode it upright"):
        probe_video(tmp_path / "a.mp4")


@pytest.mark.parametrize("b_frames", [0, 2])
def test_hidden_frames_do_not_count(tmp_path, b_frames):
    images = [draw(0, number, 64, 48) for number in range(20)]
    write_cut_video(tmp_path / "a.mp4", images, 5, b_frames=b_frames)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].frames == 20
        shown_frames = sum(1 for _ in container.decode(video=0))
    assert shown_frames == 15
    assert probe_video(tmp_path / "a.mp4").count == 15
    frames = frames_of(tmp_path / "a.mp4")
    green = np.array([frame[:, :28, 1].mean() for frame in frames])
    assert np.abs(green - [30 + 8 * number for number in range(5, 20)]).max() < 3
    (key,) = decode_keyframes(probe_video(tmp_path / "a.mp4"), 0, 5)  # frame 12 of the file, the first shown key frame
    assert abs(key[:, :28, 1].mean() - (30 + 8 * 12)) < 3


def test_a_cover_is_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30, options={"crf": "4"})
        cover = container.add_stream("png")
        for stream, size, kind in ((video, (64, 48), "yuv420p"), (cover, (20, 30), "rgb24")):
            stream.width, stream.height, stream.pix_fmt = *size, kind
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((30, 20, 3), np.uint8), format="rgb24")
        container.mux([*cover.encode(picture), *cover.encode()])
        for _ in range(3):
            container.mux(video.encode(av.VideoFrame.from_ndarray(quarters(), format="rgb24")))
        container.mux(video.encode())
    moved_to_front(path, b"udta")
    with av.open(str(path)) as container:
        assert [stream.codec_context.name for stream in container.streams.video] == ["png", "h264"]
    frames = frames_of(path)
    assert len(frames) == 3
    assert np.abs(quarters_of(frames[0]) - QUARTERS).max() < 3
