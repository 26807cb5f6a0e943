from __future__ import annotations

import signal
import subprocess
import threading
import weakref
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import engine.outputs.render_writer
from common.maths.tensors import to_uint8
from engine.outputs.files import write_png
from engine.outputs.frame_images import frame_images
from engine.outputs.render_writer import FRAMES_WAITING, RenderWriter
from engine.outputs.video import VideoWriter
from router import Mixture
from tests.warm_python import write_stand_in

EXPERTS = ("STG", "STG-2")
FULL = OSError(28, "No space left on device", "videos")


def mixture(seed: int, height: int = 34, width: int = 50) -> Mixture:
    """Smooth images that differ from frame to frame and among experts."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.linspace(0, 1, width), torch.linspace(0, 1, height)[:, None]
    images = torch.rand(2, 3, 1, 1, generator=generator) * x + torch.rand(2, 3, 1, 1, generator=generator) * y - 0.1
    gates = torch.softmax(torch.rand(2, 1, 1, generator=generator) * 9 * (x - y), dim=0)
    return Mixture(image=(gates[:, None] * images).sum(dim=0), images=images, gates=gates, logits=gates)


def writer(folder: Path, *, pngs: bool = False) -> RenderWriter:
    return RenderWriter(folder, EXPERTS, fps=Fraction(25), videos=True, pngs=pngs)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def images_of(each: Mixture) -> dict[str, np.ndarray]:
    """By name of video: `to_uint8` of one image after the other."""
    images = {"video_MoE": to_uint8(each.image)}
    for expert, image, gate in zip(EXPERTS, each.images, each.gates, strict=True):
        images |= {f"video_{expert}": to_uint8(image), f"weights_{expert}": to_uint8(gate)}
    return images


@pytest.mark.parametrize("size", [(34, 50), (33, 51)])
def test_files_are_those_of_one_image_written_after_the_other(tmp_path, size, monkeypatch):
    """Videos are compared by what is encoded: the encoder may choose other bits for the same images under load."""
    encoded: dict[Path, list[np.ndarray]] = defaultdict(list)
    original = VideoWriter.write

    def remembered(self, image):
        encoded[self.path].append(image.copy())
        original(self, image)

    monkeypatch.setattr(VideoWriter, "write", remembered)
    mixtures = [mixture(seed, *size) for seed in range(20)]  # more than wait
    truth = to_uint8(mixtures[3].images[0])
    with writer(tmp_path / "threads", pngs=True) as threads:
        for number, each in enumerate(mixtures):
            threads.write(f"cam00_{number:05d}", threads.images(each, truth))
    plain = tmp_path / "plain"
    for name in images_of(mixtures[0]):
        folder = name.replace("video_MoE", "renders").replace("video_", "renders_")
        with VideoWriter(plain / "videos" / f"{name}.mp4", fps=Fraction(25)) as video:
            for number, each in enumerate(mixtures):
                video.write(images_of(each)[name])
                write_png(plain / folder / f"cam00_{number:05d}.png", images_of(each)[name])
    for number in range(len(mixtures)):
        write_png(plain / "gt" / f"cam00_{number:05d}.png", truth)
    assert files(tmp_path / "threads") == files(plain)
    for name in files(plain):
        if name.endswith(".png"):
            assert (tmp_path / "threads" / name).read_bytes() == (plain / name).read_bytes(), name
        else:
            assert len(encoded[plain / name]) == 20
            assert np.array_equal(encoded[tmp_path / "threads" / name], encoded[plain / name]), name
            with av.open(str(tmp_path / "threads" / name)) as container:
                assert sum(1 for _ in container.decode(video=0)) == 20
    names = ["video_MoE", "video_STG", "video_STG-2", "weights_STG", "weights_STG-2"]
    folders = ["renders", "renders_STG", "renders_STG-2", "weights_STG", "weights_STG-2", "gt"]
    assert [path.stem for path in threads.files] == [*names, *folders]


@pytest.mark.parametrize("method", ["write", "finish"])
def test_an_error_of_one_video_leaves_none(tmp_path, monkeypatch, method):
    with writer(tmp_path) as earlier:
        earlier.write("a", frame_images(mixture(0)))
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    original = getattr(VideoWriter, method)

    def fails(self, *arguments):
        if self.path.stem == "weights_STG" and self.frames == 3:
            raise FULL
        return original(self, *arguments)

    monkeypatch.setattr(VideoWriter, method, fails)
    with pytest.raises(OSError, match="No space left on device: 'videos'"), writer(tmp_path) as videos:
        for seed in range(9 if method == "write" else 3):
            videos.write("a", frame_images(mixture(seed + 1)))
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_an_error_of_a_png_reaches_the_caller(tmp_path, monkeypatch):
    def fails(path, image):
        raise FULL

    monkeypatch.setattr(engine.outputs.render_writer, "write_png", fails)
    with pytest.raises(OSError, match="No space left on device"), writer(tmp_path, pngs=True) as images:
        images.write("a", frame_images(mixture(0)))
    assert files(tmp_path) == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_no_file_and_no_thread(tmp_path, error):
    threads = threading.active_count()
    with pytest.raises(error), writer(tmp_path) as videos:
        for seed in range(3):
            videos.write("a", frame_images(mixture(seed)))
        raise error
    assert files(tmp_path) == set()
    assert threading.active_count() == threads


def test_slow_encoders_hold_back_the_caller(tmp_path, monkeypatch):
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    original = VideoWriter.write

    def watched(self, image):
        nonlocal most
        if self.path.stem == "video_MoE":
            alive.append(weakref.ref(image))
            most = max(most, sum(each() is not None for each in alive))
        original(self, image)

    monkeypatch.setattr(VideoWriter, "write", watched)
    with writer(tmp_path) as videos:
        for seed in range(30):
            videos.write("a", frame_images(mixture(seed)))
            assert len(videos._encoders["video_MoE"]._tasks) <= FRAMES_WAITING
    # Besides those that wait: the one being handed over, and one that a thread has written and not yet let go of.
    assert len(alive) == 30 and most <= FRAMES_WAITING + 2


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.engine.outputs.test_render_writer import mixture, writer
with writer(Path(sys.argv[1]), pngs=True) as images:
    for seed in range(12):
        images.write(f"cam00_{seed:05d}", images.images(mixture(seed)))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_no_half_written_file(tmp_path):
    root = Path(__file__).resolve().parents[3]
    write_stand_in(tmp_path / ".python", "product")
    end = subprocess.run([tmp_path / ".python", "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    assert end.returncode == 128 + signal.SIGKILL
    named = {name for name in files(tmp_path) if not Path(name).name.startswith(".")}
    assert named, "PNGs of the first frames are there"
    assert all(name.endswith(".png") for name in named)
    for name in named:
        folder, seed = Path(name).parts[0], int(Path(name).stem[-5:])
        video = folder.replace("renders_", "video_") if "_" in folder else "video_MoE"
        whole = write_png(tmp_path / "whole.png", images_of(mixture(seed))[video])
        assert (tmp_path / name).read_bytes() == whole.read_bytes()
