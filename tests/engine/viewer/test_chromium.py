"""The viewer in Chromium. test_server.py speaks to it without a screen, and without Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("viser", reason="the viewer needs viser: pip install -r requirements-dev.txt -c constraints.txt")
pytest.importorskip("playwright", reason="no Playwright: pip install -r requirements-dev.txt -c constraints.txt")

from common.maths.tensors import to_uint8
from engine.runs.run import Run, mix_view
from engine.training.interruption import Interruption
from engine.viewer.server import Viewer
from tests.chromium import WAIT, launched, needs_chromium, picture
from tests.small_world import HEIGHT, NAMES, WIDTH, Images, small_run

SIZE = {"width": 900, "height": 600}
SCALE = 16
pytestmark = [
    pytest.mark.slow,
    needs_chromium,
    pytest.mark.filterwarnings("ignore:Queued a .* on a closed connection"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The small run with images that are large enough for JPEG to keep them."""
    run = small_run(tmp_path_factory.mktemp("viewer"))
    large = {"fx": SCALE * WIDTH, "fy": SCALE * WIDTH, "cx": SCALE * WIDTH / 2, "cy": SCALE * HEIGHT / 2}
    size = {"width": SCALE * WIDTH, "height": SCALE * HEIGHT}
    views = tuple(replace(view, camera=replace(view.camera, **large, **size)) for view in run.scene.views)
    pixels = run.scene.frames.pixels.repeat(SCALE, axis=2).repeat(SCALE, axis=3)
    return replace(run, scene=replace(run.scene, views=views, frames=Images(pixels)))


@pytest.fixture(scope="module")
def page(run: Run) -> Iterator:
    viewer, stop = Viewer(run, port=8941), Interruption()
    thread = threading.Thread(target=viewer.serve, args=(stop,))
    thread.start()
    try:
        with launched() as (_, browser):
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(WAIT)
            page.goto(f"http://127.0.0.1:{viewer.port}")
            page.wait_for_selector("strong")  # the PSNR
            page.locator(".mantine-Notification-closeButton").first.click()  # WebGL in software, over the picture
            yield page
    finally:
        stop.requested = True
        thread.join(timeout=10)
        viewer.close()


def settled(page) -> np.ndarray:
    """The picture beside the panel, once it stays."""
    before = None
    for _ in range(20):
        page.wait_for_timeout(500)
        image = picture(page.locator("canvas").first)
        if before is not None and np.abs(image - before).max() < 1:
            return image
        before = image
    raise TimeoutError("the picture does not come to rest")


def control(page, value: str):
    """The visible input that has a value."""
    inputs = page.locator("input:visible")
    found = [number for number in range(inputs.count()) if inputs.nth(number).input_value() == value]
    return inputs.nth(found[0])


def choose(page, before: str, after: str) -> None:
    control(page, before).click()
    page.get_by_role("option", name=after, exact=True).last.click()


def test_a_browser_shows_what_the_renderer_renders(page, run: Run) -> None:
    """The canvas holds the mixture: averaged back to the renderer's pixels, it differs by JPEG and smoothing alone."""
    image = settled(page)
    top, left, height, width = place_of(image)
    cut = Image.fromarray(image[top : top + height, left : left + width].astype(np.uint8))
    small = np.asarray(cut.resize((SCALE * WIDTH, SCALE * HEIGHT), Image.Resampling.BOX)).astype(float)
    own, other = to_uint8(mix_view(run, 0, 0).image), to_uint8(mix_view(run, 0, 3).image)
    assert np.abs(small - own).mean() < 3 < np.abs(own.astype(float) - other).mean()


def place_of(image: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of the recorded camera's image in the canvas, which it fills in one direction."""
    height, width = image.shape[:2]
    scale = min(height / HEIGHT, width / WIDTH)
    tall, wide = round(scale * HEIGHT), round(scale * WIDTH)
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def test_slider_and_kinds_change_the_picture(page) -> None:
    first = settled(page)
    frame = control(page, "0")
    frame.fill("3")
    frame.press("Enter")
    later = settled(page)
    choose(page, "mixture", f"expert {NAMES[1]}")
    expert = settled(page)
    choose(page, f"expert {NAMES[1]}", f"gate {NAMES[1]}")
    gate = settled(page)
    pairs = ((first, later), (later, expert), (expert, gate))
    assert all(np.abs(one - other).mean() > 1 for one, other in pairs)


def test_a_screenshot_is_downloaded(page, tmp_path: Path) -> None:
    page.get_by_text("Files", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Screenshot").click()
    download.value.save_as(tmp_path / "shot.png")
    assert Image.open(tmp_path / "shot.png").size == (SCALE * WIDTH, SCALE * HEIGHT)
