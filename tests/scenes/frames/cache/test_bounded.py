"""Frames within a limit of disk: the same pixels, never more bytes, whoever reads them."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from scenes import Scene, SceneError, SceneOptions, load_scene
from scenes.cutting import cut
from scenes.frames.cache import bounded
from scenes.frames.cache import writing as cache_writing
from tests.scenes.scene_folders import Rig, draw, write_n3v_scene, write_video
from tests.warm_python import write_stand_in

FRAME = 64 * 48 * 3
FRAMES = 64
ROOM = 0.00125  # GB: 45 frames of all three cameras, in chunks of 8
ROOT = Path(__file__).resolve().parents[4]


def write_room(folder: Path) -> Path:
    write_n3v_scene(folder, Rig(frames=FRAMES))
    for camera in range(3):
        pictures = [draw(camera, frame, 64, 48) for frame in range(FRAMES)]
        write_video(folder / f"cam{camera:02}.mp4", pictures, key_frames_every=8)
    return folder


def load(folder: Path, cache: Path, limit: float | None = ROOM, **options) -> Scene:
    return load_scene(folder, SceneOptions(cache=cache, cache_gb=limit, needed="none", progress=False, **options))


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; one that gets its name meanwhile counts once."""
    files = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(Path(place, name))
            except FileNotFoundError:
                continue
            files[status.st_ino] = status.st_size
    return sum(files.values())


@contextmanager
def watched_size(folder: Path) -> Iterator[list[int]]:
    """Sizes of a folder, measured all the while the block lasts."""
    sizes, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            sizes.append(size_of(folder))
            time.sleep(0.001)  # else nothing else goes on in this process

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        ended.set()
        watcher.join()


def random_reads(count: int, seed: int = 0) -> list[tuple[int, int]]:
    random = np.random.default_rng(seed)
    return [(int(random.integers(3)), int(random.integers(FRAMES))) for _ in range(count)]


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return write_room(tmp_path_factory.mktemp("scene") / "room")


@pytest.fixture(scope="module")
def whole(room, tmp_path_factory) -> Scene:
    return load(room, tmp_path_factory.mktemp("whole"), None)


def test_pixels_are_those_of_a_cache_without_a_limit_which_is_kept(room, whole, tmp_path):
    scene = load(room, tmp_path)
    with watched_size(tmp_path) as sizes:
        for view, frame in random_reads(100):
            np.testing.assert_array_equal(scene.frames.read(view, frame), whole.frames.read(view, frame))
    assert 0.6 * ROOM * 1e9 < max(sizes) <= ROOM * 1e9
    assert len(sizes) > 20


def test_threads_and_processes_share_the_room(room, whole, tmp_path):
    script = """
        import sys
        from pathlib import Path
        from scenes import SceneOptions, load_scene
        options = SceneOptions(cache=Path(sys.argv[2]), cache_gb=float(sys.argv[3]), needed="none", progress=False)
        frames = load_scene(Path(sys.argv[1]), options).frames
        for number in range(5):
            frames.read(number % 3, number * 7 % 64)
    """
    write_stand_in(tmp_path / "python", "product")
    command = [tmp_path / "python", "-c", textwrap.dedent(script), str(room), str(tmp_path / "cache"), str(ROOM)]
    scene, faults = load(room, tmp_path / "cache"), []

    def read(seed: int) -> None:
        for view, frame in random_reads(5, seed):
            if not np.array_equal(scene.frames.read(view, frame), whole.frames.read(view, frame)):
                faults.append((view, frame))

    with watched_size(tmp_path / "cache") as sizes:
        other = subprocess.Popen(command, cwd=ROOT)
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other.wait() == 0
    assert not faults
    assert max(sizes) <= ROOM * 1e9


def test_what_a_killed_process_leaves_is_removed_and_decoded_again(room, whole, tmp_path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from scenes import SceneOptions, load_scene
        from scenes.frames.cache import writing as cache_writing
        decode, done = cache_writing.decode, 0
        def dying(*place, **options):
            global done
            for image in decode(*place, **options):
                done += 1
                if done == 12:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield image
        cache_writing.decode = dying
        options = SceneOptions(cache=Path(sys.argv[2]), cache_gb=float(sys.argv[3]), needed="none", progress=False)
        frames = load_scene(Path(sys.argv[1]), options).frames
        for frame in range(64):
            frames.read(0, frame)
    """
    write_stand_in(tmp_path / "python", "product")
    command = [tmp_path / "python", "-c", textwrap.dedent(script), str(room), str(tmp_path / "cache"), str(ROOM)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 128 + signal.SIGKILL
    assert list((tmp_path / "cache").glob("*/.saving_*"))
    scene = load(room, tmp_path / "cache")
    for view, frame in random_reads(40):
        np.testing.assert_array_equal(scene.frames.read(view, frame), whole.frames.read(view, frame))
    assert not list((tmp_path / "cache").glob("*/.saving_*"))
    assert size_of(tmp_path / "cache") <= ROOM * 1e9


def test_a_chunk_on_disk_is_not_decoded_again(room, tmp_path, monkeypatch):
    decode, decoded = cache_writing.decode, []

    def counting(source, start, count, **options):
        decoded.append((source.path.name, start, count))
        return decode(source, start, count, **options)

    monkeypatch.setattr(cache_writing, "decode", counting)
    scene = load(room, tmp_path)
    assert scene.frames.chunks().length == 8
    for frame in range(8, 16):
        scene.frames.read(1, frame)
    assert decoded == [("cam01.mp4", 8, 8)]
    later = load(room, tmp_path, start=8, duration=16)
    assert cut(later, 0, 8).frames.read(1, 0).shape == (48, 64, 3)
    assert len(decoded) == 1
    assert scene.frames.on_disk([1]).cached_bytes == 8 * FRAME


def test_a_clip_that_was_decoded_whole_is_read_and_gives_way(room, tmp_path, monkeypatch):
    load(room, tmp_path, None).frames.prepare([0])
    monkeypatch.setattr(cache_writing, "decode", None)
    scene = load(room, tmp_path)
    scene.frames.read(0, 63)
    monkeypatch.undo()
    for view in (1, 2):
        for frame in range(FRAMES):
            scene.frames.read(view, frame)
    assert not list(tmp_path.glob("*/cam00_0-63.npy"))
    assert size_of(tmp_path) <= ROOM * 1e9


def test_a_source_that_changed_is_decoded_again(tmp_path):
    room = write_room(tmp_path / "room")
    load(room, tmp_path / "cache").frames.read(1, 3)
    write_video(room / "cam01.mp4", [255 - draw(1, frame, 64, 48) for frame in range(FRAMES)])
    assert load(room, tmp_path / "cache").frames.read(1, 3)[40, 60].min() > 240


def test_a_chunk_that_others_remove_before_it_is_read_is_decoded_again(room, whole, tmp_path, monkeypatch):
    scene, removed = load(room, tmp_path), []
    read = bounded.recorded_sums

    def removing(file):
        if len(removed) < 2:
            removed.append(file)
            file.with_suffix(".json").unlink()
            file.unlink()
        return read(file)

    monkeypatch.setattr(bounded, "recorded_sums", removing)
    np.testing.assert_array_equal(scene.frames.read(1, 3), whole.frames.read(1, 3))
    assert [file.name for file in removed] == 2 * ["cam01_0-7.npy"]


def rot(folder: Path) -> None:
    """Change a bit of frame 3 of the second camera."""
    (file,) = folder.glob("*/cam01_0-7.npy")
    content = bytearray(file.read_bytes())
    content[-5 * FRAME] ^= 1
    file.write_bytes(content)


def test_a_chunk_that_rots_is_decoded_again(room, whole, tmp_path, caplog):
    load(room, tmp_path).frames.read(1, 3)
    rot(tmp_path)
    np.testing.assert_array_equal(load(room, tmp_path).frames.read(1, 3), whole.frames.read(1, 3))
    assert "cam01_0-7.npy: frame 3 of cam01 changed since it was decoded; decoding cam01 again" in caplog.text


def test_a_disk_that_spoils_what_is_written_is_named(room, tmp_path, monkeypatch):
    scene = load(room, tmp_path)
    write = bounded.write_record

    def spoiling(record, file):
        write(record, file)
        rot(tmp_path)

    monkeypatch.setattr(bounded, "write_record", spoiling)
    with pytest.raises(SceneError, match=r"cam01_0-7.npy: frame 3 of cam01 changed just after it was decoded; check"):
        scene.frames.read(1, 3)


def test_files_of_others_stay(room, tmp_path):
    (tmp_path / "64x48_bilinear").mkdir()
    for name in ("notes.txt", "64x48_bilinear/mine.npy"):
        (tmp_path / name).write_bytes(bytes(10**6))
    scene = load(room, tmp_path)
    for view, frame in random_reads(40):
        scene.frames.read(view, frame)
    assert (tmp_path / "notes.txt").exists() and (tmp_path / "64x48_bilinear" / "mine.npy").exists()


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(room, tmp_path, limit):
    with pytest.raises(SceneError, match=f"--cache_gb is {limit}: give a number of gigabytes above 0"):
        load(room, tmp_path, limit)


def test_too_little_room_is_said_before_anything_is_decoded(room, tmp_path):
    with pytest.raises(
        SceneError, match=r"--cache_gb is 0.0001: 4 frames of 3 cameras take .* give 0\.\d+ or more, or a lower"
    ) as error:
        load(room, tmp_path / "cache", 0.0001)
    assert not (tmp_path / "cache").exists()
    enough = float(str(error.value).split("give ")[1].split()[0])
    scene = load(room, tmp_path / "cache", enough)
    assert scene.frames.chunks().length == 1
    assert scene.frames.read(2, 63).shape == (48, 64, 3)
