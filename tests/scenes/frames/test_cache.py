from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scenes.frames.cache as cache_module
from scenes import Scene, SceneError, SceneOptions, load_scene
from tests.scenes.scene_folders import Rig, colour, draw, write_n3v_scene, write_video


def load(folder: Path, **options) -> Scene:
    return load_scene(folder, SceneOptions(cache=folder.parent / "cache", **{"progress": False, **options}))


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cache").glob("*.npy")}


def test_unchanged_sources_are_not_decoded_again(tmp_path):
    write_n3v_scene(tmp_path / "room")
    load(tmp_path / "room")
    before = stamps(tmp_path)
    assert set(before) == {"cam00.npy", "cam01.npy", "cam02.npy"}
    load(tmp_path / "room")
    assert stamps(tmp_path) == before


def test_a_changed_source_is_decoded_again_alone(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder)
    load(folder)
    before = stamps(tmp_path)
    write_video(folder / "cam01.mp4", [255 - draw(1, frame, 64, 48) for frame in range(4)])
    scene = load(folder)
    after = stamps(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"cam01.npy"}
    assert scene.frames.read(1, 0)[40, 60].min() > 240


@pytest.mark.parametrize("options", [{"resolution": 2}, {"resize": "box"}, {"start": 1}, {"duration": 2}])
def test_other_settings_decode_again(tmp_path, options):
    write_n3v_scene(tmp_path / "room")
    load(tmp_path / "room")
    before = stamps(tmp_path)
    scene = load(tmp_path / "room", **options)
    assert all(stamp != before[name] for name, stamp in stamps(tmp_path).items())
    camera = scene.views[0].camera
    stored = np.load(tmp_path / "cache" / "cam00.npy")
    assert stored.shape == (scene.num_frames, camera.height, camera.width, 3)


def test_records_say_what_was_decoded(tmp_path):
    write_n3v_scene(tmp_path / "room", pattern="{name}/{frame:03d}.png")
    load(tmp_path / "room", start=1, duration=2, resolution=2)
    record = json.loads((tmp_path / "cache" / "cam01.json").read_text())
    sources = record.pop("sources")
    assert record == {"version": 2, "start": 1, "count": 2, "width": 32, "height": 24, "filter": "bilinear"}
    assert [name for name, _, _ in sources] == ["cam01/001.png", "cam01/002.png"]
    status = (tmp_path / "room" / "cam01" / "002.png").stat()
    assert sources[1][1:] == [status.st_size, status.st_mtime_ns]


@pytest.mark.parametrize("damage", ["record", "short", "gone"])
def test_damaged_cache_files_are_made_again(tmp_path, damage):
    write_n3v_scene(tmp_path / "room")
    load(tmp_path / "room")
    file = tmp_path / "cache" / "cam01.npy"
    if damage == "record":
        (tmp_path / "cache" / "cam01.json").write_text("{")
    elif damage == "short":
        os.truncate(file, file.stat().st_size - 1)
    else:
        file.unlink()
    before = stamps(tmp_path)
    assert np.abs(load(tmp_path / "room").frames.read(1, 3)[0, 0].astype(int) - colour(1, 3)).max() <= 4
    after = stamps(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == {"cam01.npy"}


def test_only_needed_views_are_decoded_others_when_read(tmp_path):
    write_n3v_scene(tmp_path / "room")
    scene = load(tmp_path / "room", needed="test")
    assert set(stamps(tmp_path)) == {"cam00.npy"}
    assert np.abs(scene.frames.read(2, 1)[0, 0].astype(int) - colour(2, 1)).max() <= 4
    assert set(stamps(tmp_path)) == {"cam00.npy", "cam02.npy"}
    load(tmp_path / "room", needed="train")
    assert set(stamps(tmp_path)) == {"cam00.npy", "cam01.npy", "cam02.npy"}


def test_a_failed_view_leaves_no_partial_file_and_the_next_run_goes_on(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder, Rig(frames=3), pattern="{name}/{frame}.png")
    whole = (folder / "cam02" / "2.png").read_bytes()
    (folder / "cam02" / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SceneError, match=r"cam02/2.png: not a readable image .* copy it again"):
        load(folder)
    assert not list((tmp_path / "cache").glob("*.partial"))
    assert not (tmp_path / "cache" / "cam02.npy").exists()
    before = stamps(tmp_path)
    (folder / "cam02" / "2.png").write_bytes(whole)
    load(folder)
    assert {name: stamps(tmp_path)[name] for name in before} == before


KILLED_RUN = """
    import os, signal, sys
    from pathlib import Path
    import scenes.frames.cache as cache_module
    from scenes import SceneOptions, load_scene

    decode, done = cache_module.decode, 0
    def dying(*args, **options):
        global done
        for image in decode(*args, **options):
            done += 1
            if done == 6:  # in the middle of the second camera
                os.kill(os.getpid(), signal.SIGKILL)
            yield image
    class OneWorker(cache_module.ThreadPoolExecutor):
        def __init__(self, workers, **options):
            super().__init__(1, **options)
    cache_module.decode, cache_module.ThreadPoolExecutor = dying, OneWorker
    load_scene(Path(sys.argv[1]), SceneOptions(cache=Path(sys.argv[2]), progress=False))
"""


def test_a_killed_run_is_resumed(tmp_path):
    write_n3v_scene(tmp_path / "room")
    script = [sys.executable, "-c", textwrap.dedent(KILLED_RUN), str(tmp_path / "room"), str(tmp_path / "cache")]
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run(script, check=False, cwd=root).returncode == -signal.SIGKILL
    before = stamps(tmp_path)
    assert set(before) == {"cam00.npy"}
    assert (tmp_path / "cache" / "cam01.npy.partial").exists()
    scene = load(tmp_path / "room")
    assert stamps(tmp_path)["cam00.npy"] == before["cam00.npy"]
    assert np.abs(scene.frames.read(1, 3)[0, 0].astype(int) - colour(1, 3)).max() <= 4
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_too_little_disk_space_is_said_before_decoding(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room")
    usage = shutil.disk_usage(tmp_path)
    need = 3 * 4 * 64 * 48 * 3
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage._replace(free=need - 1))
    with pytest.raises(SceneError, match=r"0.0 GB needed for the frames of 3 cameras, 0.0 GB free; choose another"):
        load(tmp_path / "room")
    assert not stamps(tmp_path)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage._replace(free=need))
    load(tmp_path / "room")
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage._replace(free=0))
    load(tmp_path / "room", resolution=2)  # the old files make room


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room")

    def full(*args) -> np.ndarray:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "resized", full)
    with pytest.raises(SceneError, match=r"npy.partial: No space left on device; free space or choose another"):
        load(tmp_path / "room")


def test_a_second_run_waits_for_the_first_and_uses_its_files(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room", Rig(frames=30))
    decode, decoded = cache_module.decode, []

    def counting(source, *place, **options):
        decoded.append(source.path.name)
        return decode(source, *place, **options)

    monkeypatch.setattr(cache_module, "decode", counting)
    runs = [threading.Thread(target=load, args=(tmp_path / "room",)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(decoded) == ["cam00.mp4", "cam01.mp4", "cam02.mp4"]
    assert len(stamps(tmp_path)) == 3


def test_threads_may_read_while_a_view_is_decoded(tmp_path):
    write_n3v_scene(tmp_path / "room", pattern="{name}/{frame}.png")
    scene = load(tmp_path / "room", needed="test")
    results: list[tuple[int, ...]] = []
    threads = [threading.Thread(target=lambda: results.append(tuple(scene.frames.read(1, 2)[0, 0]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [colour(1, 2)] * 8


def test_reads_are_copies(tmp_path):
    write_n3v_scene(tmp_path / "room", pattern="{name}/{frame}.png")
    scene = load(tmp_path / "room")
    scene.frames.read(1, 0)[:] = 0
    assert tuple(scene.frames.read(1, 0)[0, 0]) == colour(1, 0)


def test_resizing_is_pillows(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 48, 64, 3), dtype=np.uint8)
    write_n3v_scene(
        tmp_path / "room", pattern="{name}/{frame}.png", image=lambda camera, frame, *_: noise[camera, frame]
    )
    for name in ("bilinear", "bicubic", "lanczos", "box"):
        scene = load(tmp_path / "room", resolution=4, resize=name)
        expected = Image.fromarray(noise[1, 2]).resize((16, 12), Image.Resampling[name.upper()])
        np.testing.assert_array_equal(scene.frames.read(1, 2), np.asarray(expected))


def test_progress_is_shown_on_request(tmp_path, caplog, capsys):
    caplog.set_level(logging.INFO)
    write_n3v_scene(tmp_path / "room")
    load(tmp_path / "room")
    assert not caplog.messages
    scene = load(tmp_path / "room", resolution=2, progress=True)
    assert caplog.messages[0] == f"Decoding frames: {len(scene.views) * scene.num_frames} frames"
    assert caplog.messages[-1].startswith(f"{caplog.messages[0]} in ")
    assert "\r" not in capsys.readouterr().err
