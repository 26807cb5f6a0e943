from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import textwrap
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scenes.frames.cache.writing as cache_writing
from scenes import Scene, SceneError, SceneOptions, load_scene
from scenes.cutting import cut
from tests.scenes.scene_folders import Rig, colour, draw, write_n3v_scene, write_video
from tests.warm_python import write_stand_in


def load(folder: Path, **options) -> Scene:
    return load_scene(folder, SceneOptions(cache=folder.parent / "cache", **{"progress": False, **options}))


def stamps(folder: Path) -> dict[str, int]:
    """Time of each cache file's last change, by its path below the cache."""
    cache = folder / "cache"
    return {path.relative_to(cache).as_posix(): path.stat().st_mtime_ns for path in cache.glob("**/*.npy")}


def files(*cameras: str, clip: str = "0-3", size: str = "64x48_bilinear") -> set[str]:
    """The cache files of cameras."""
    return {f"{size}/{camera}_{clip}.npy" for camera in cameras}


ALL = ("cam00", "cam01", "cam02")


def watch_decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    decode, decoded = cache_writing.decode, []

    def watched(source, *place, **options):
        decoded.append(source.path.name)
        return decode(source, *place, **options)

    monkeypatch.setattr(cache_writing, "decode", watched)
    return decoded


def test_unchanged_sources_are_not_decoded_again(tmp_path):
    write_n3v_scene(tmp_path / "room")
    load(tmp_path / "room")
    before = stamps(tmp_path)
    assert set(before) == files(*ALL)
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
    assert {name for name in after if after[name] != before[name]} == files("cam01")
    assert scene.frames.read(1, 0)[40, 60].min() > 240


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({"resolution": 2}, files(*ALL, size="32x24_bilinear")),
        ({"resize": "box"}, files(*ALL, size="64x48_box")),
        ({"resolution": 20, "resize": "box"}, files(*ALL, size="20x15_box")),
    ],
)
def test_other_sizes_and_filters_lie_side_by_side(tmp_path, monkeypatch, options, made):
    write_n3v_scene(tmp_path / "room")
    load(tmp_path / "room")
    before = stamps(tmp_path)
    scene = load(tmp_path / "room", **options)
    after = stamps(tmp_path)
    assert set(after) == files(*ALL) | made
    assert before.items() <= after.items()
    camera = scene.views[0].camera
    stored = np.load(tmp_path / "cache" / min(made))
    assert stored.shape == (scene.num_frames, camera.height, camera.width, 3)
    decoded = watch_decoding(monkeypatch)
    load(tmp_path / "room")
    load(tmp_path / "room", **options)
    assert decoded == []


def test_a_clip_is_read_from_a_longer_one(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room", Rig(frames=6))
    load(tmp_path / "room")
    decoded = watch_decoding(monkeypatch)
    for options in ({"duration": 2}, {"start": 3}, {"start": 2, "end": 4}):
        scene = load(tmp_path / "room", **options)
        for frame in range(scene.num_frames):
            shown = scene.frames.read(1, frame)[0, 0].astype(int)
            assert np.abs(shown - colour(1, scene.start + frame)).max() <= 4
    assert decoded == []
    assert set(stamps(tmp_path)) == files(*ALL, clip="0-5")


def test_a_clip_of_images_is_read_from_a_longer_one(tmp_path):
    write_n3v_scene(tmp_path / "room", Rig(frames=6), pattern="{name}/{frame}.png")
    load(tmp_path / "room")
    before = stamps(tmp_path)
    assert tuple(load(tmp_path / "room", start=2, duration=3).frames.read(2, 1)[0, 0]) == colour(2, 3)
    assert stamps(tmp_path) == before


def test_a_changed_image_outside_of_a_clip_outdates_the_longer_one(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder, Rig(frames=6), pattern="{name}/{frame}.png")
    load(folder)
    Image.fromarray(np.full((48, 64, 3), 9, np.uint8)).save(folder / "cam01" / "5.png")
    assert tuple(load(folder, duration=2).frames.read(1, 1)[0, 0]) == colour(1, 1)
    assert set(stamps(tmp_path)) == files("cam00", "cam02", clip="0-5") | files("cam01", clip="0-1")
    assert tuple(load(folder).frames.read(1, 5)[0, 0]) == (9, 9, 9)
    assert set(stamps(tmp_path)) == files(*ALL, clip="0-5")


def test_a_longer_clip_replaces_the_shorter_ones_that_it_holds(tmp_path):
    write_n3v_scene(tmp_path / "room", Rig(frames=6))
    for options in ({"duration": 2}, {"start": 4}, {"duration": 1, "resize": "box"}):
        load(tmp_path / "room", **options)
    mapped = load(tmp_path / "room", start=4)
    kept = files(*ALL, clip="0-0", size="64x48_box")
    assert set(stamps(tmp_path)) == files(*ALL, clip="0-1") | files(*ALL, clip="4-5") | kept
    load(tmp_path / "room", duration=5)  # holds one of them, and overlaps the other
    assert set(stamps(tmp_path)) == files(*ALL, clip="0-4") | files(*ALL, clip="4-5") | kept
    load(tmp_path / "room")
    assert set(stamps(tmp_path)) == files(*ALL, clip="0-5") | kept
    records = {path.with_suffix(".npy").name for path in (tmp_path / "cache/64x48_bilinear").glob("*.json")}
    assert records == {f"{camera}_0-5.npy" for camera in ALL}
    assert np.abs(mapped.frames.read(1, 1)[0, 0].astype(int) - colour(1, 5)).max() <= 4, "its file is gone, not changed"


def test_files_without_a_record_are_left_alone(tmp_path):
    cache = tmp_path / "cache"
    strangers = [cache / "cam00.npy", cache / "cam00.json", cache / "64x48_bilinear" / "cam00_1-2.npy"]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of another layout")
    write_n3v_scene(tmp_path / "room")
    load(tmp_path / "room", duration=2)
    load(tmp_path / "room")
    assert [path.read_text() for path in strangers] == ["of another layout"] * 3


def test_names_that_begin_alike_are_told_apart(tmp_path):
    write_n3v_scene(tmp_path / "room", Rig(cameras=["cam1", "cam10", "cam100"]))
    load(tmp_path / "room", duration=1)
    (tmp_path / "cache/64x48_bilinear/cam10_0-0.npy").unlink()
    load(tmp_path / "room", duration=1)
    assert set(stamps(tmp_path)) == files("cam1", "cam10", "cam100", clip="0-0")


def test_records_say_what_was_decoded(tmp_path):
    write_n3v_scene(tmp_path / "room", pattern="{name}/{frame:03d}.png")
    load(tmp_path / "room", start=1, duration=2, resolution=2)
    record = json.loads((tmp_path / "cache" / "32x24_bilinear" / "cam01_1-2.json").read_text())
    sources, pixels = record.pop("sources"), np.load(tmp_path / "cache" / "32x24_bilinear" / "cam01_1-2.npy")
    assert record.pop("crc32") == [zlib.crc32(frame.tobytes()) for frame in pixels]
    assert record == {"version": 2, "start": 1, "count": 2, "width": 32, "height": 24, "filter": "bilinear"}
    assert [name for name, _, _ in sources] == ["cam01/001.png", "cam01/002.png"]
    status = (tmp_path / "room" / "cam01" / "002.png").stat()
    assert sources[1][1:] == [status.st_size, status.st_mtime_ns]


@pytest.mark.parametrize("damage", ["record", "short", "gone"])
def test_damaged_cache_files_are_made_again(tmp_path, damage):
    write_n3v_scene(tmp_path / "room")
    load(tmp_path / "room")
    file = tmp_path / "cache" / "64x48_bilinear" / "cam01_0-3.npy"
    if damage == "record":
        file.with_suffix(".json").write_text("{")
    elif damage == "short":
        os.truncate(file, file.stat().st_size - 1)
    else:
        file.unlink()
    before = stamps(tmp_path)
    assert np.abs(load(tmp_path / "room").frames.read(1, 3)[0, 0].astype(int) - colour(1, 3)).max() <= 4
    after = stamps(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == files("cam01")


def test_only_needed_views_are_decoded_others_when_read(tmp_path):
    write_n3v_scene(tmp_path / "room")
    scene = load(tmp_path / "room", needed="test")
    assert set(stamps(tmp_path)) == files("cam00")
    assert np.abs(scene.frames.read(2, 1)[0, 0].astype(int) - colour(2, 1)).max() <= 4
    assert set(stamps(tmp_path)) == files("cam00", "cam02")
    load(tmp_path / "room", needed="train")
    assert set(stamps(tmp_path)) == files(*ALL)


def test_a_failed_view_leaves_no_partial_file_and_the_next_run_goes_on(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder, Rig(frames=3), pattern="{name}/{frame}.png")
    whole = (folder / "cam02" / "2.png").read_bytes()
    (folder / "cam02" / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SceneError, match=r"cam02/2.png: not a readable image .* copy it again"):
        load(folder)
    assert not [*(tmp_path / "cache").glob("**/*.partial"), *(tmp_path / "cache").glob("**/.saving_*")]
    assert not stamps(tmp_path).keys() & files("cam02", clip="0-2")
    before = stamps(tmp_path)
    (folder / "cam02" / "2.png").write_bytes(whole)
    load(folder)
    assert {name: stamps(tmp_path)[name] for name in before} == before


KILLED_RUN = """
    import os, signal, sys
    from pathlib import Path
    import scenes.frames.cache.whole as cache_module
    import scenes.frames.cache.writing as cache_writing
    from scenes import SceneOptions, load_scene

    decode, done = cache_writing.decode, 0
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
    cache_writing.decode, cache_module.ThreadPoolExecutor = dying, OneWorker
    load_scene(Path(sys.argv[1]), SceneOptions(cache=Path(sys.argv[2]), progress=False))
"""


def test_a_killed_run_is_resumed(tmp_path):
    write_n3v_scene(tmp_path / "room")
    write_stand_in(tmp_path / "python", "product")
    script = [tmp_path / "python", "-c", textwrap.dedent(KILLED_RUN), str(tmp_path / "room"), str(tmp_path / "cache")]
    root = Path(__file__).resolve().parents[4]
    assert subprocess.run(script, check=False, cwd=root).returncode == 128 + signal.SIGKILL
    before = stamps(tmp_path)
    assert set(before) == files("cam00")
    assert (tmp_path / "cache" / "64x48_bilinear" / "cam01_0-3.npy.partial").exists()
    (tmp_path / "cache" / "64x48_bilinear" / ".saving_cam01_0-3.1.json").touch()  # of a kill a moment later
    scene = load(tmp_path / "room")
    assert before.items() <= stamps(tmp_path).items()
    assert np.abs(scene.frames.read(1, 3)[0, 0].astype(int) - colour(1, 3)).max() <= 4
    assert not [*(tmp_path / "cache").glob("**/*.partial"), *(tmp_path / "cache").glob("**/.saving_*")]


def test_too_little_disk_space_is_said_before_decoding(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room")
    usage = shutil.disk_usage(tmp_path)
    need = 3 * 4 * 64 * 48 * 3
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=need - 1))
    with pytest.raises(SceneError, match=r"0.0 GB needed for the frames of 3 cameras, 0.0 GB free; choose another"):
        load(tmp_path / "room")
    assert not stamps(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=need))
    load(tmp_path / "room")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
    for name in ALL:
        os.utime(tmp_path / "room" / f"{name}.mp4", (0, 0))
    load(tmp_path / "room")  # outdated files make room
    with pytest.raises(SceneError, match=r"0.0 GB free; choose another"):
        load(tmp_path / "room", resolution=2)  # files of another size stay
    assert set(stamps(tmp_path)) == files(*ALL)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room")

    def full(*args) -> np.ndarray:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_writing, "resized", full)
    with pytest.raises(SceneError, match=r"npy.partial: No space left on device; free space or choose another"):
        load(tmp_path / "room")


def test_a_second_run_waits_for_the_first_and_uses_its_files(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room", Rig(frames=30))
    decoded = watch_decoding(monkeypatch)
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
    title = f"Decoding frames: {len(scene.views) * scene.num_frames} frames"
    assert caplog.messages[1] == title
    assert caplog.messages[-1].startswith(f"{title} in ")
    assert "\r" not in capsys.readouterr().err


def test_the_size_is_told_before_decoding_and_where_nothing_is_decoded(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    write_n3v_scene(tmp_path / "room", Rig(frames=100))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=120 * 10**9))
    load(tmp_path / "room", needed="test", progress=True)
    cache = tmp_path / "cache"
    assert caplog.messages[0] == f"decoding 1 camera, 100 frames, 64x48 px to {cache}: 0.9 MB (free: 120.0 GB)"
    caplog.clear()
    scene = load(tmp_path / "room", progress=True)
    assert caplog.messages[0] == f"decoding 2 cameras, 100 frames, 64x48 px to {cache}: 1.8 MB (free: 120.0 GB)"
    caplog.clear()
    scene = load(tmp_path / "room", progress=True)
    assert caplog.messages == [f"frames: cache {cache} (2.8 MB)"]
    scene.frames.read(0, 3)
    assert len(caplog.messages) == 1


def test_what_is_on_disk_is_told_without_decoding(tmp_path):
    write_n3v_scene(tmp_path / "room")
    scene = load(tmp_path / "room", needed="none", resolution=2)
    view = 4 * 32 * 24 * 3
    told = scene.frames.on_disk((0, 1, 2))
    assert (told.folder, told.cached_bytes, told.missing_bytes) == (tmp_path / "cache", 0, 3 * view)
    assert told.decoding_seconds == pytest.approx(3 * 4 * 64 * 48 / 60e6)  # pixels of the video over a core's rate
    assert not (tmp_path / "cache").exists()
    scene.frames.prepare([1])
    told = scene.frames.on_disk((0, 1))
    assert (told.cached_bytes, told.missing_bytes) == (view, view)
    assert told.decoding_seconds == pytest.approx(4 * 64 * 48 / 60e6)
    assert told.free_bytes > 0


def test_a_cut_clip_is_prepared_as_the_whole(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room")
    scene = load(tmp_path / "room", needed="none")
    later = cut(scene, 2, 2)
    assert later.frames.on_disk([1]).missing_bytes == 4 * 64 * 48 * 3
    later.frames.prepare([1])
    assert set(stamps(tmp_path)) == files("cam01")
    decoded = watch_decoding(monkeypatch)
    assert np.abs(later.frames.read(1, 1)[0, 0].astype(int) - colour(1, 3)).max() <= 4
    assert decoded == []


def flip(file: Path, place: int) -> None:
    """Flip a bit of a file, in its place: processes that have mapped the file see it."""
    with file.open("r+b") as stream:
        stream.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 4]))


CAM01 = Path("cache/64x48_bilinear/cam01_0-3.npy")


def test_a_frame_that_changed_on_disk_is_decoded_again(tmp_path, monkeypatch, caplog):
    write_n3v_scene(tmp_path / "room")
    expected = load(tmp_path / "room").frames.read(1, 3)
    flip(tmp_path / CAM01, -100)  # in the last frame
    decoded = watch_decoding(monkeypatch)
    first, second = (load(tmp_path / "room").frames for _ in range(2))  # as two processes
    first.read(1, 2)
    assert decoded == [] and not caplog.messages
    for frames in (first, second, first):
        np.testing.assert_array_equal(frames.read(1, 3), expected)
    assert decoded == ["cam01.mp4"]
    fault = f"{tmp_path / CAM01}: frame 3 of cam01 changed since it was decoded; decoding cam01 again"
    assert caplog.messages == [fault]


def test_a_changed_frame_of_a_longer_clip_is_decoded_again(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room")
    load(tmp_path / "room")
    flip(tmp_path / CAM01, -100)
    frames = load(tmp_path / "room", start=2).frames
    assert np.abs(frames.read(1, 1)[0, 0].astype(int) - colour(1, 3)).max() <= 4
    assert set(stamps(tmp_path)) == files("cam00", "cam02") | files("cam01", clip="2-3")


def test_frames_in_another_order_of_memory_are_decoded_again(tmp_path):
    write_n3v_scene(tmp_path / "room")
    expected = load(tmp_path / "room").frames.read(1, 3)
    content = (tmp_path / CAM01).read_bytes()
    (tmp_path / CAM01).write_bytes(content.replace(b"False", b"True ", 1))
    np.testing.assert_array_equal(load(tmp_path / "room").frames.read(1, 3), expected)


def test_a_changed_frame_without_its_video_is_refused(tmp_path):
    write_n3v_scene(tmp_path / "room")
    frames = load(tmp_path / "room").frames
    flip(tmp_path / CAM01, -100)
    (tmp_path / "room" / "cam01.mp4").unlink()
    frames.read(1, 2)
    with pytest.raises(SceneError, match=r"room/cam01.mp4: No such file or directory; put the file back"):
        frames.read(1, 3)


def test_a_frame_that_keeps_changing_is_refused(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room")
    frames = load(tmp_path / "room").frames
    monkeypatch.setattr(zlib, "crc32", lambda data: next(numbers))
    numbers = iter(range(100))
    with pytest.raises(SceneError, match=r"frame 3 of cam01 changed just after it was decoded; check the disk"):
        frames.read(1, 3)


def test_frames_of_an_earlier_version_without_check_sums_are_used(tmp_path, monkeypatch):
    write_n3v_scene(tmp_path / "room")
    expected = load(tmp_path / "room").frames.read(1, 3)
    for path in (tmp_path / "cache").rglob("*.json"):
        record = json.loads(path.read_text())
        del record["crc32"]
        path.write_text(json.dumps(record))
    decoded = watch_decoding(monkeypatch)
    np.testing.assert_array_equal(load(tmp_path / "room").frames.read(1, 3), expected)
    assert decoded == []
