from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("viser", reason="the viewer needs viser: pip install -r requirements-dev.txt -c constraints.txt")

from common.maths.tensors import to_uint8
from engine.errors import ConfigError
from engine.runs.run import Run, mix_camera, mix_view
from engine.training.interruption import Interruption
from engine.viewer.cameras import camera_of, pose_of
from engine.viewer.client import facts
from engine.viewer.images import Picture
from engine.viewer.server import Viewer
from scenes.camera_files import read_cameras
from tests.engine.viewer.browser import Browser
from tests.small_world import FRAMES, HEIGHT, NAMES, WIDTH, small_run

pytestmark = pytest.mark.filterwarnings("ignore:Queued a .* on a closed connection")
JPEG = 12.0  # mean difference in 8 bits that JPEG may make of such small noisy images
NONSENSE = (
    b"",
    b"\xc1\xff\x00",
    b"{}",
    b"\x81\xa4type\xa7Unknown",
    b"\x81\xa4type\xb3ViewerCameraMessage",
    b"\x81\xa4type\x01",
    bytes(1000),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("viewer"))


@pytest.fixture(scope="module", autouse=True)
def short_rest() -> Iterator[None]:
    """A camera rests soon, so that a picture of full size comes soon after each change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.viewer.client.REST", 0.1)
        yield


@pytest.fixture(scope="module")
def viewer(run: Run) -> Iterator[Viewer]:
    viewer, stop = Viewer(run, port=8931, budget=0.02, width=64), Interruption()
    thread = threading.Thread(target=viewer.serve, args=(stop,))
    thread.start()
    yield viewer
    stop.requested = True
    thread.join(timeout=10)
    assert not thread.is_alive()
    viewer.close()


@pytest.fixture
def browser(viewer: Viewer) -> Iterator[Browser]:
    browser = Browser(viewer.port)
    browser.settle()
    yield browser
    browser.close()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other).mean())


def test_a_browser_begins_at_the_held_out_camera(browser: Browser, run: Run) -> None:
    assert browser.image is not None
    assert difference(browser.image, to_uint8(mix_view(run, 0, 0).image)) < JPEG
    assert "dB" in browser.text and f"{WIDTH}x{HEIGHT}" in browser.text


def test_time_kind_and_experts_change_the_picture(browser: Browser, run: Run) -> None:
    browser.set("frame", FRAMES - 1)
    assert difference(browser.settle(), to_uint8(mix_view(run, 0, FRAMES - 1).image)) < JPEG
    for kind, image in (
        (f"expert {NAMES[2]}", mix_view(run, 0, FRAMES - 1).images[2]),
        (f"gate {NAMES[2]}", mix_view(run, 0, FRAMES - 1).gates[2].expand(3, -1, -1)),
    ):
        browser.set("show", kind)
        assert difference(browser.settle(), to_uint8(image)) < JPEG
    browser.set("show", "mixture")
    browser.set(NAMES[0], False)
    browser.set(NAMES[1], False)
    assert difference(browser.settle(), to_uint8(mix_view(run, 0, FRAMES - 1).images[2])) < JPEG


def test_a_slow_browser_comes_to_the_held_out_camera_late(viewer: Viewer) -> None:
    """It reports where it was, seconds after it was asked to go; the viewer waits for it at the recorded camera."""
    slow = Browser(viewer.port, follows=False)
    slow.wait(lambda one: one.image is not None and "position" in one.given)
    for _ in range(2):
        threading.Event().wait(0.8)  # longer than it takes over a camera
        slow.move(position=[0.01, 0, 0])
        slow.settle()
        assert "dB" in slow.text
    slow.follow()
    threading.Event().wait(0.8)
    slow.settle()
    assert "dB" in slow.text
    slow.move(position=[0.5, 0.1, -1])
    slow.settle()
    assert "dB" not in slow.text
    slow.close()


def test_a_camera_that_moves_is_a_free_one(browser: Browser, run: Run) -> None:
    threading.Event().wait(0.8)  # the browser has settled at the recorded camera
    browser.move(wxyz=[1, 0, 0, 0], position=[0.5, 0.1, -1], fov=1.0)
    pose = pose_of((1, 0, 0, 0), (0.5, 0.1, -1), 1.0, (48, 32))
    assert pose is not None
    image = browser.settle()
    assert difference(image, to_uint8(mix_camera(run, camera_of(pose, 48, 32), 0).image)) < JPEG
    assert "dB" not in browser.text


def test_a_screenshot_is_the_renderers_own_output(browser: Browser, run: Run) -> None:
    browser.set("Screenshot", True)
    browser.wait(lambda one: one.file.endswith(b"IEND\xaeB`\x82"))
    assert (np.asarray(Image.open(io.BytesIO(browser.file))) == to_uint8(mix_view(run, 0, 0).image)).all()
    browser.file = b""
    browser.set("width", 30)
    browser.set("Screenshot", True)
    browser.wait(lambda one: one.file.endswith(b"IEND\xaeB`\x82"))
    assert Image.open(io.BytesIO(browser.file)).size == (30, HEIGHT)


def test_what_would_take_all_memory_is_not_rendered(browser: Browser, viewer: Viewer) -> None:
    browser.set("width", 8192)
    browser.set("height", 1013)
    for button in ("Add key camera", "Add key camera", "Screenshot", "Download video"):
        browser.set(button, True)
        if "Add" not in button:
            said = f"{button.split()[-1].lower()}: 8192x1013 px are too many. Give a width times a height of 8,294,400"
            browser.wait(lambda one, said=said: one.text.startswith(said))
    assert not browser.file


def test_the_last_expert_that_is_switched_off_switches_all_on(browser: Browser) -> None:
    boxes = [browser.controls[name] for name in NAMES]
    for name in NAMES:
        browser.set(name, False)
    browser.wait(lambda one: all(one.values.get(box) for box in boxes))


def test_a_camera_and_a_path_are_what_trajectory_reads(browser: Browser, run: Run, tmp_path: Path) -> None:
    browser.set("Camera as JSON", True)
    text = browser.controls["JSON"]
    browser.wait(lambda one: text in one.values)
    (tmp_path / "one.json").write_text(browser.values[text])
    (read,) = read_cameras(tmp_path / "one.json")
    recorded = run.scene.views[0].camera
    assert replace(read.camera, world_to_camera=recorded.world_to_camera) == recorded
    browser.set("Add key camera", True)
    browser.set("go to", "cam02")
    browser.set("frame", 2)
    browser.settle()
    browser.set("Add key camera", True)
    browser.set("images", 7)
    browser.set("Download path", True)
    browser.wait(lambda one: one.file.endswith(b"]\n"))
    assert [entry["frame"] for entry in json.loads(browser.file)] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2], abs=1e-3
    )


def test_time_runs_while_it_is_played(browser: Browser) -> None:
    slider = browser.controls["frame"]
    browser.set("play", True)
    seen: set[int] = set()
    browser.wait(lambda one: seen.add(one.values.get(slider, 0)) or len(seen) == FRAMES)


def test_frames_come_when_they_are_due(browser: Browser, monkeypatch) -> None:
    """Nothing but the clock asks for them: the look at controls comes too seldom for that."""
    monkeypatch.setattr("engine.viewer.server.IDLE", 60.0)
    browser.set("play", True)
    browser.kinds.clear()
    browser.wait(lambda one: one.kinds.count("BackgroundImageMessage") >= 12)
    monkeypatch.undo()
    browser.set("play", False)


def test_a_path_becomes_a_video(browser: Browser) -> None:
    browser.set("Download video", True)
    browser.wait(lambda one: one.text == "0 key cameras: add two or more")
    browser.set("Add key camera", True)
    browser.move(position=[0.5, 0.1, -1])
    browser.settle()
    browser.set("Add key camera", True)
    browser.set("width", 40)
    browser.set("images", 5)
    browser.set("Download video", True)
    browser.wait(lambda one: "FileTransferPart" in one.kinds and one.text.startswith("key cameras at"))
    with av.open(io.BytesIO(browser.file)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert [frame.shape for frame in frames] == [(HEIGHT, 40, 3)] * 5
    assert difference(frames[0], frames[-1]) > 3


def test_a_video_is_stopped_by_a_second_click_and_leaves_nothing(browser: Browser, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    browser.set("Add key camera", True)
    browser.set("Add key camera", True)
    browser.set("images", 9000)
    browser.set("Download video", True)
    browser.wait(lambda one: one.text.startswith("video: image 2"))
    assert list(tmp_path.iterdir())
    browser.kinds.clear()
    browser.set("frame", 1)
    browser.wait(lambda one: "BackgroundImageMessage" in one.kinds)  # pictures come meanwhile
    browser.set("Download video", True)
    browser.wait(lambda one: one.text.startswith("video stopped after"))
    assert not list(tmp_path.iterdir()) and not browser.file


def test_the_video_of_a_browser_that_left_ends_with_the_viewer(run: Run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    viewer = Viewer(run, port=8955)
    browser = Browser(viewer.port)
    deadline = time.monotonic() + 10
    clicked = False
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        viewer.serve_once()
        browser.listen(0.05)
        if not clicked and browser.image is not None:
            for button in ("Add key camera", "Add key camera", "Download video"):
                browser.set(button, True)
            clicked = True
    assert list(tmp_path.iterdir())
    browser.close()
    while viewer.clients and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not viewer.clients
    viewer.close()
    assert not list(tmp_path.iterdir())


def test_a_video_that_fails_is_given_up(browser: Browser, monkeypatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr("engine.viewer.film.picture_of", failing)
    browser.set("Add key camera", True)
    browser.set("Add key camera", True)
    browser.set("Download video", True)
    browser.wait(lambda one: one.text == "the video failed: ValueError: no such thing")


def test_cameras_and_start_points_are_drawn_when_asked(browser: Browser, run: Run) -> None:
    positions = np.random.default_rng(0).random((50, 3), dtype=np.float32)
    np.savez(run.scene.root / "known_points.npz", xyz=positions, rgb=positions)
    browser.set("show cameras", True)
    browser.set("show start points", True)
    browser.wait(lambda one: "PointCloudMessage" in one.kinds)
    assert browser.kinds.count("CameraFrustumMessage") == len(run.scene.views)
    browser.wait(lambda one: one.visible.get("/cameras/cam00") is False)  # one stands in its frame
    assert browser.visible["/cameras/cam01"]
    browser.kinds.clear()
    browser.set("show start points", False)
    browser.wait(lambda one: "SetSceneNodeVisibilityMessage" in one.kinds)


def test_start_points_that_cannot_be_read_are_a_warning(browser: Browser, run: Run, caplog) -> None:
    (run.scene.root / "known_points.npz").write_bytes(b"no points")
    browser.set("show start points", True)
    browser.set("frame", 2)
    assert difference(browser.settle(), to_uint8(mix_view(run, 0, 2).image)) < JPEG
    assert any(record.getMessage().startswith("start points: ") for record in caplog.records)


def test_browsers_have_views_of_their_own(browser: Browser, viewer: Viewer) -> None:
    other = Browser(viewer.port)
    other.settle()
    other.set("show", "winner")
    assert difference(other.settle(), browser.settle()) > 20
    other.close()


def test_nonsense_and_lost_browsers_change_nothing_for_others(browser: Browser, viewer: Viewer, run: Run) -> None:
    for number, content in enumerate(NONSENSE * 3):
        strange = Browser(viewer.port)
        if number % 3 == 0:
            strange.wait(lambda one: one.image is not None)
        strange.send_bytes(content)
        strange.kill() if number % 2 else strange.close()
    strange = Browser(viewer.port)
    strange.settle()
    for value in ("x", -5, 1e300, [1], {"a": 1}, None, True):
        for label in ("frame", "show", "temperature", "wipe at", "field of view", "go to", "width", NAMES[0]):
            strange.set(label, value)
    for camera in ({"position": [float("nan")] * 3}, {"wxyz": [0, 0, 0, 0]}, {"image_width": 10**9}):
        strange.move(**camera)
    strange.send("ShareUrlRequest")
    strange.settle()
    strange.move(fov="x")  # viser ends this connection
    browser.set("frame", 1)
    assert difference(browser.settle(), to_uint8(mix_view(run, 0, 1).image)) < JPEG
    assert "ShareUrlUpdated" not in strange.kinds
    strange.close()


def test_names_and_faults_are_no_markup_in_the_panel(run: Run) -> None:
    strange = replace(run, scene=replace(run.scene, name="a_b <img src=x>&{1}"))
    picture = Picture(image=np.zeros((2, 3, 3), np.uint8), seconds=0.1)
    assert r"a\_b \<img src=x\>\&\{1\}, iteration" in facts(strange, picture, 1.0)


def test_a_port_that_is_taken_gives_the_next_and_a_foreign_address_an_error(viewer: Viewer, run: Run) -> None:
    second = Viewer(run, port=viewer.port)
    assert second.port != viewer.port and f"127.0.0.1:{second.port}" in second.lines()[0]
    assert "ssh -N -L" in second.lines()[1]
    second.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", second.port))  # it was let go
    with pytest.raises(ConfigError, match="nothing can listen there"):
        Viewer(run, host="192.0.2.1")


def test_a_picture_that_fails_is_tried_once_and_told(viewer: Viewer, run: Run, monkeypatch, caplog) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ValueError("no such thing")

    browser = Browser(viewer.port)
    browser.settle()
    with monkeypatch.context() as patch:
        patch.setattr("engine.viewer.client.picture_of", failing)
        browser.set("frame", 2)
        browser.wait(lambda one: "ValueError: no such thing" in one.text)
        threading.Event().wait(0.5)
        patch.setattr("engine.viewer.files.picture_of", failing)
        browser.set("Screenshot", True)
        browser.wait(lambda one: one.text == "This file failed: ValueError: no such thing")
    said = "a browser's picture failed: ValueError: no such thing"
    assert [record.getMessage() for record in caplog.records].count(said) == 1
    browser.set("frame", 1)
    assert difference(browser.settle(), to_uint8(mix_view(run, 0, 1).image)) < JPEG
    browser.close()


def test_a_newer_iteration_is_shown(tmp_path: Path) -> None:
    old = small_run(tmp_path)
    newer = replace(small_run(tmp_path), iteration=7)
    with torch.no_grad():
        newer.experts[0].colours.zero_()
    viewer = Viewer(old, port=8951)
    browser = Browser(viewer.port)
    threading.Event().wait(0.3)
    while viewer.serve_once():
        pass
    before = browser.settle()
    viewer._run = newer
    while viewer.serve_once():
        pass
    assert difference(before, browser.settle()) > 5
    assert "iteration 7" in browser.text
    browser.close()
    viewer.close()
