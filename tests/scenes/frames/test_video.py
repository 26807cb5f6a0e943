from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from scenes import SceneError
from scenes.frames.video import decode_video, probe_video
from tests.scenes.scene_folders import draw, write_video

BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)  # weights of red and blue in luma
LIMITED, FULL = 1, 2  # FFmpeg's numbers of colour ranges
LUMA, BLUE, RED = 120, 100, 170


def rgb_of(weights: tuple[float, float], full: bool) -> np.ndarray:
    """RGB of (LUMA, BLUE, RED) by ITU-R BT.601 or BT.709."""
    red, blue = weights
    luma = LUMA / 255 if full else (LUMA - 16) / 219
    pb, pr = ((chroma - 128) / (255 if full else 224) for chroma in (BLUE, RED))
    r, b = luma + 2 * (1 - red) * pr, luma + 2 * (1 - blue) * pb
    return 255 * np.array([r, (luma - red * r - blue * b) / (1 - red - blue), b])


def write_flat_video(path: Path, matrix: int | None, colour_range: int | None) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        if colour_range is not None:
            stream.codec_context.color_range = colour_range
        planes = np.concatenate([np.full(1024, LUMA), np.full(256, BLUE), np.full(256, RED)]).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(planes.reshape(48, 32), format="yuv420p")
        if matrix is not None:
            frame.colorspace = matrix
        if colour_range is not None:
            frame.color_range = colour_range
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("matrix", "colour_range", "expected"),
    [
        (None, None, rgb_of(BT601, False)),
        (5, LIMITED, rgb_of(BT601, False)),
        (1, LIMITED, rgb_of(BT709, False)),
        (1, FULL, rgb_of(BT709, True)),
    ],
)
def test_colours_by_the_files_matrix_and_range(tmp_path, matrix, colour_range, expected):
    write_flat_video(tmp_path / "flat.mp4", matrix, colour_range)
    (frame,) = decode_video(probe_video(tmp_path / "flat.mp4"), 0, 1, threads=1)
    assert (
        np.abs(frame.reshape(-1, 3) - expected).max() <= 2
    )  # swscale's tables truncate (1.92 seen); another matrix is 7 off


def test_counts_and_sizes_without_decoding(tmp_path):
    write_video(tmp_path / "a.mp4", [draw(0, frame, 64, 48) for frame in range(7)])
    write_video(tmp_path / "a.mkv", [draw(0, frame, 64, 48) for frame in range(7)])  # no frame count in the header
    for name in ("a.mp4", "a.mkv"):
        video = probe_video(tmp_path / name)
        assert (video.count, video.width, video.height) == (7, 64, 48)


def test_threads_do_not_change_the_frames(tmp_path):
    write_video(tmp_path / "a.mp4", [draw(0, frame, 64, 48) for frame in range(7)])
    video = probe_video(tmp_path / "a.mp4")
    one, four = (list(decode_video(video, 2, 5, threads=threads)) for threads in (1, 4))
    np.testing.assert_array_equal(one, four)
    green = [frame[:, :28, 1].mean() for frame in one]
    assert np.abs(np.array(green) - [30 + 8 * number for number in range(2, 7)]).max() < 3


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / "cam00.mp4").write_bytes(b"not a video")
    with pytest.raises(SceneError, match=r"cam00.mp4: not a readable video \(.*Invalid data found"):
        probe_video(tmp_path / "cam00.mp4")
    with wave.open(str(tmp_path / "sound.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2000))
    with pytest.raises(SceneError, match=r"sound.mp4: holds no video stream"):
        probe_video(tmp_path / "sound.mp4")


def test_a_cut_video_is_named_with_counts(tmp_path):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(30)]
    write_video(tmp_path / "whole.mp4", noise)
    with (
        av.open(str(tmp_path / "whole.mp4")) as whole,
        av.open(str(tmp_path / "cam03.mp4"), "w", options={"movflags": "faststart"}) as front,
    ):
        stream = front.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size:
                packet.stream = stream
                front.mux(packet)
    data = (tmp_path / "cam03.mp4").read_bytes()
    (tmp_path / "cam03.mp4").write_bytes(data[: len(data) // 2])
    video = probe_video(tmp_path / "cam03.mp4")
    assert video.count == 30
    with pytest.raises(SceneError, match=r"cam03.mp4: .* after 1\d of 30 frames, 30 are needed"):
        list(decode_video(video, 0, 30, threads=1))
    assert len(list(decode_video(video, 2, 5, threads=1))) == 5
