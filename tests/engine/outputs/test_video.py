from __future__ import annotations

import resource
from fractions import Fraction

import av
import numpy as np
import pytest

from engine.outputs.encoders import Encoder
from engine.outputs.video import VideoWriter, _copied

H, W = 64, 96


def read(path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def smooth(count: int, height: int = H, width: int = W) -> list[np.ndarray]:
    """Smooth images whose channels all differ, so that swapped ones are far apart."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return [
        (np.stack([x, y, np.full_like(x, 0.2 + 0.02 * t)], axis=-1) * 255).round().astype(np.uint8)
        for t in range(count)
    ]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (63, 96), (64, 97), (63, 97)])
def test_what_is_written_is_read_back(tmp_path, height, width):
    frames = smooth(5, height, width)
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for frame in frames:
            writer.write(frame)
    decoded = read(tmp_path / "a.mp4")
    assert len(decoded) == writer.frames == 5
    assert decoded[0].shape == (height + height % 2, width + width % 2, 3)
    for written, got in zip(frames, decoded, strict=True):
        assert psnr(written, got[:height, :width]) > 39  # 40.1 dB was the worst seen
    if height % 2:
        assert np.abs(decoded[0][-1].astype(int) - decoded[0][-2]).max() <= 12  # the padding repeats the edge


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (17, 130, 200)])
def test_flat_colours_keep_channels_and_range(tmp_path, colour):
    image = np.full((H, W, 3), colour, dtype=np.uint8)
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(image)
    assert np.abs(read(tmp_path / "a.mp4")[0].astype(int) - image).max() <= 3


def test_grey_images_stay_grey(tmp_path):
    ramp = np.tile(np.linspace(0, 255, W).round().astype(np.uint8), (H, 1))
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(ramp)
    grey = read(tmp_path / "a.mp4")[0].astype(int)
    assert np.abs(grey - ramp[..., None]).max() <= 3
    assert grey[:, 0].max() <= 2
    assert grey[:, -1].min() >= 253


def test_tags_say_what_the_pixels_are(tmp_path):
    image = smooth(1)[0]
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(image)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == 30
        assert (int(frame.colorspace), int(frame.color_range)) == (6, 1)  # BT.601 matrix, limited range


@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001)])
def test_frame_rates(tmp_path, fps):
    with VideoWriter(tmp_path / "a.mp4", fps=fps) as writer:
        for image in smooth(10):
            writer.write(image)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == fps


def test_an_interrupted_video_leaves_no_file_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "videos" / "a.mp4"
    with VideoWriter(path) as writer:
        writer.write(smooth(1)[0])
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="interrupted here"), VideoWriter(path) as writer:
        writer.write(smooth(1)[0])
        raise RuntimeError("interrupted here")
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["a.mp4"]


def test_no_frames_no_file(tmp_path):
    with VideoWriter(tmp_path / "a.mp4"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_frame_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the first was"), VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(smooth(1)[0])
        writer.write(smooth(1, H, W + 2)[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [30, 1])  # more than the encoder holds back, and less
def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path, count):
    noise = np.random.default_rng(0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"), VideoWriter(tmp_path / "a.mp4") as writer:
            for _ in range(count):
                writer.write(noise.integers(0, 256, (H, W, 3), dtype=np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_images_that_cannot_be_changed_or_are_not_in_order_are_written_too(tmp_path):
    image = smooth(1)[0]
    turned = np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(1, 0, 2)
    fixed = image.copy()
    fixed.flags.writeable = False
    frames = [VideoWriter(tmp_path / "a.mp4")._frame(each).to_ndarray() for each in (image, turned, fixed)]
    assert np.array_equal(frames[0], frames[1]) and np.array_equal(frames[0], frames[2])


@pytest.mark.parametrize("shape", [(507, 676, 3), (508, 675, 3), (64, 96, 3)])
def test_ffmpeg_gets_memory_of_its_own(shape):
    """It reads beyond the end of an image, which may be the end of what the process may read."""
    image = np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)
    frame = _copied(image)
    expected = image.copy()
    image[:] = 0
    assert np.array_equal(frame.to_ndarray(), expected)


@pytest.mark.parametrize("shape", [(256, 256), (507, 676), (63, 97), (1, 1)])
def test_grey_images_get_the_bits_of_the_conversion_from_rgb(tmp_path, shape):
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    grey[0, 0] = 255
    writer = VideoWriter(tmp_path / "a.mp4")
    looked_up, converted = (writer._frame(each) for each in (grey, np.repeat(grey[..., None], 3, axis=2)))
    assert np.array_equal(looked_up.to_ndarray(), converted.to_ndarray())
    assert (looked_up.format.name, looked_up.colorspace, looked_up.color_range) == (
        *(converted.format.name, converted.colorspace, converted.color_range),
    )


def test_the_encoder_can_be_chosen(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", encoder=Encoder(codec="mpeg4", options={"qscale": "2"})) as writer:
        writer.write(smooth(1)[0])
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
