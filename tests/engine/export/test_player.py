"""The player in Chromium, from a file: on a laptop it shows what our rasterizer does, and a phone can use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from moegs_rasterizer import Camera

pytest.importorskip("playwright", reason="no Playwright: pip install -r requirements-dev.txt -c constraints.txt")

from playwright.sync_api import Browser, Page, Playwright

from engine.export.pages.page import PagePictures, read_page
from engine.runs.experts.images import image_of
from engine.runs.run import Run
from router import Mixture, mix
from router.novel_views import PLAIN
from tests.chromium import launched, needs_chromium, picture
from tests.engine.export.pages import HEIGHT, WIDTH, db, enlarged, exported, pixels, ruled_run, varied_run
from tests.small_world import FRAMES, camera

pytestmark = [pytest.mark.slow, needs_chromium]
PHONE = "Pixel 7"
PLACE = "[player.view.distance(), ...player.view.eye]"  # of the camera, around the middle of the scene
DRAWN = "() => !document.getElementById('message')"
Running = tuple[Playwright, Browser]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return varied_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def path(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(run, tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Running]:
    with launched() as running:
        yield running


def opened(page: Page, path: Path, address: str = "") -> list[str]:
    """Opens a page from disk and waits for its picture; the list takes what the page logs."""
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(path.as_uri() + address)
    page.wait_for_function(DRAWN)
    return messages


def shown(page: Page) -> np.ndarray:
    """What the window shows once the player has drawn its state, 0 to 1."""
    page.evaluate("player.show({})")
    return picture(page) / 255


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_page_whose_end_is_missing_says_so(share: float, chromium: Running, path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    (tmp_path / "cut.html").write_bytes(data[: int(share * len(data))])
    page = chromium[1].new_page()
    page.goto((tmp_path / "cut.html").as_uri())
    page.wait_for_function("() => document.getElementById('message').textContent != 'loading'")
    assert page.inner_text("#message") == "This page is not complete: copy it again."


def test_a_laptop_shows_what_our_rasterizer_does(chromium: Running, run: Run, path: Path) -> None:
    ours = PagePictures(read_page(path), run.compute)
    large = enlarged(camera(0))
    page = chromium[1].new_page(viewport={"width": WIDTH, "height": HEIGHT})
    messages = opened(page, path, "#frame=2&controls=off")
    second = picture(page) / 255
    assert db(pixels(ours(large, 2)), second) > 40
    page.evaluate("player.show({frame: 0})")
    first = shown(page)
    assert db(pixels(ours(large, 0)), first) > 40 and db(first, second) < 35
    for expert, splats in zip(run.experts, ours.experts, strict=True):
        page.evaluate(f"player.show({{experts: ['{expert.name}']}})")
        assert db(pixels(image_of(splats, large, 0, compute=run.compute)), shown(page)) > 40
    assert messages == []
    page.close()


def test_rules_hold_where_nobody_trained(chromium: Running, run: Run, tmp_path: Path) -> None:
    ruled = ruled_run(run)
    path = exported(ruled, tmp_path / "page.html")
    read = read_page(path)
    by_rules, plain = (PagePictures(replace(read, novel=rules), ruled.compute) for rules in (read.novel, PLAIN))
    held_out, trained = (enlarged(view.camera) for view in ruled.scene.views[:2])
    page = chromium[1].new_page(viewport={"width": WIDTH, "height": HEIGHT})
    messages = opened(page, path, "#frame=2&controls=off")

    def drawn(state: str) -> np.ndarray:
        page.evaluate(f"player.show({state})")
        return picture(page) / 255

    assert db(pixels(by_rules(held_out, 2)), picture(page) / 255) > 40
    assert db(pixels(plain(held_out, 2)), drawn("{rules: false}")) > 40
    for expert, alone in zip(ruled.experts, mixed(by_rules, held_out, 2).images, strict=True):
        by_page = drawn(f"{{rules: true, experts: ['{expert.name}']}}")
        assert db(pixels(alone), by_page) > 40  # holes are those of all experts, also of those that are off
    assert db(pixels(plain(trained, 2)), drawn("{rules: true, camera: 'cam01', experts: []}")) > 40
    page.evaluate("player.view.move(0, 0)")  # it is no longer the training camera
    moved = drawn("{}")
    assert db(pixels(by_rules(trained, 2)), moved) > 40 and db(pixels(plain(trained, 2)), moved) < 37
    assert messages == []
    page.close()


def mixed(pictures: PagePictures, at: Camera, frame: int) -> Mixture:
    """The mixture of a page's splats, with all that it is made of."""
    given = {"temperature": pictures.page.temperature, "backend": pictures.compute.backend, "novel": pictures.novel}
    time = frame / pictures.page.frames
    return mix(pictures.router, pictures.experts, at, frame=frame, time=time, **given)


def test_the_controls_change_the_picture(chromium: Running, run: Run, path: Path) -> None:
    page = chromium[1].new_page(viewport={"width": 300, "height": 220})
    messages = opened(page, path)
    pictures = [shown(page)]
    moved = f"(slider) => {{slider.value = {FRAMES - 1}; slider.dispatchEvent(new Event('input'))}}"
    page.locator("#frame").evaluate(moved)
    pictures.append(shown(page))
    page.get_by_label(run.experts[0].name).uncheck()
    pictures.append(shown(page))
    page.get_by_label("gates").check()
    pictures.append(shown(page))
    page.get_by_label("gates").uncheck()
    page.get_by_label("camera").select_option("cam02")
    pictures.append(shown(page))
    assert page.locator("#number").inner_text() == f"{FRAMES - 1} / {FRAMES - 1}"
    inside = (slice(60, 160), slice(200, None))  # beside the controls
    assert all(db(one[inside], other[inside]) < 35 for one, other in pairwise(pictures))
    page.keyboard.press("h")
    assert not page.locator("#controls").is_visible() and messages == []
    page.close()


def test_the_controls_say_what_the_address_asks_for(chromium: Running, run: Run, path: Path) -> None:
    page = chromium[1].new_page(viewport={"width": WIDTH, "height": HEIGHT})
    names = [expert.name for expert in run.experts]
    opened(page, path, f"#frame=2&camera=cam01&gates=on&experts={names[0]},{names[2]}")
    assert [page.get_by_label(name).is_checked() for name in (*names, "gates")] == [True, False, True, True]
    assert page.get_by_label("camera").evaluate("(list) => list.selectedOptions[0].text") == "cam01"
    assert page.get_by_label("frame").input_value() == "2"
    page.close()


@pytest.mark.parametrize(("frame", "number"), [("999", FRAMES - 1), ("-4.5", 0), ("abc", 0)])
def test_what_an_address_cannot_have_is_not_asked_for(chromium: Running, path: Path, frame: str, number: int) -> None:
    page = chromium[1].new_page(viewport={"width": WIDTH, "height": HEIGHT})
    messages = opened(page, path, f"#frame={frame}&camera=nope&experts=Nobody")
    assert page.evaluate("player.frame") == number and page.evaluate("player.shown.every((each) => each)")
    assert messages == []
    page.close()


def test_one_comes_back_from_everywhere(chromium: Running, run: Run, path: Path) -> None:
    """From a turned camera, from as near as it goes, from an experts' list without any, and from lost WebGL."""
    page = chromium[1].new_page(viewport={"width": WIDTH, "height": HEIGHT})
    messages = opened(page, path, "#controls=off")
    first, camera = picture(page), page.get_by_label("camera")
    near = page.evaluate("player.view.distance()")
    page.mouse.move(100, 60)
    for down in (-9000, 9000):
        page.mouse.wheel(0, down)
        page.wait_for_function(f"Math.abs(Math.log10(player.view.distance() / {near})) > 1")
    assert camera.evaluate("(list) => list.selectedOptions[0].text") == "free"
    camera.evaluate("(list) => {list.value = 0; list.dispatchEvent(new Event('change'))}")
    assert (shown(page) * 255 == first).all()
    page.evaluate("location.hash = '#controls=on&gates=on&frame=1'")
    page.wait_for_function("player.gates && player.frame === 1")
    for expert in run.experts:
        page.get_by_label(expert.name).click()
    assert page.evaluate("player.shown.every((each) => each)") and page.get_by_label(run.experts[-1].name).is_checked()
    page.locator("#frame").focus()
    page.keyboard.press(" ")
    page.wait_for_function("player.playing && player.frame > 1")
    page.keyboard.press(" ")
    page.evaluate("location.hash = '#controls=off'")
    page.wait_for_function("!player.playing && player.frame === 0")
    page.evaluate("window.taken = player.renderer.gl.getExtension('WEBGL_lose_context'); taken.loseContext()")
    page.wait_for_function("player.renderer.gl.isContextLost()")
    page.evaluate("window.old = player.renderer; taken.restoreContext()")
    page.wait_for_function("player.renderer !== old")
    assert (shown(page) * 255 == first).all()
    assert not [text for text in messages if "CONTEXT_LOST" not in text]
    page.close()


def test_an_old_browser_says_what_it_lacks_and_which_ones_have_it(chromium: Running, path: Path) -> None:
    page = chromium[1].new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.add_init_script("delete window.DecompressionStream")
    page.goto(path.as_uri())
    page.wait_for_function("document.getElementById('message').textContent !== 'loading'")
    assert page.locator("#message").inner_text() == (
        "This page cannot be shown: this browser has no DecompressionStream, which unpacks the splats. Take Chrome or "
        "Edge from version 80 on, Firefox from 113 on, or Safari from 16.4 on."
    )
    page.close()


def test_a_still_page_has_no_time(chromium: Running, run: Run, tmp_path: Path) -> None:
    still = replace(run, scene=replace(run.scene, num_frames=1))
    page = chromium[1].new_page(viewport={"width": WIDTH, "height": HEIGHT})
    messages = opened(page, exported(still, tmp_path / "page.html"))
    page.keyboard.press(" ")
    assert not page.evaluate("player.playing") and not page.locator("#play").is_visible()
    page.locator("summary").click()
    assert not page.get_by_label(run.experts[0].name).is_visible() and messages == []
    page.close()


def test_a_phone_shows_all_controls_and_a_finger_turns_the_scene(chromium: Running, run: Run, tmp_path: Path) -> None:
    views = tuple(replace(view, name=f"a camera with a long name {view.number}") for view in run.scene.views)
    path = exported(replace(run, scene=replace(run.scene, views=views)), tmp_path / "page.html")
    driver, browser = chromium
    context = browser.new_context(**driver.devices[PHONE] | {"device_scale_factor": 1})  # WebGL in software is slow
    page = context.new_page()
    messages = opened(page, path)
    width, height = page.evaluate("[innerWidth, innerHeight]")
    assert width == driver.devices[PHONE]["viewport"]["width"]  # nothing made the page wider
    for control in page.locator(":is(#top, #bottom, button, input, select, #number):visible").all():
        box = control.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width, control.evaluate("e => e.id")
        assert box["y"] >= 0 and box["y"] + box["height"] <= height
    before, place = picture(page) / 255, page.evaluate(PLACE)
    drag(page, (width / 2, height / 2), (width / 2 + 60, height / 2 + 20))
    assert db(before, shown(page)) < 35
    turned = page.evaluate(PLACE)
    assert turned[0] == pytest.approx(place[0]) and np.abs(np.subtract(turned, place)[1:]).max() > 0.1
    page.locator("#play").tap()
    page.wait_for_function("player.frame > 0")
    page.locator("#play").tap()
    assert messages == []
    context.close()


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Moves a finger over the page in two steps."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    send("touchStart", start)
    for step in (0.5, 1.0):
        send("touchMove", (start[0] + step * (end[0] - start[0]), start[1] + step * (end[1] - start[1])))
    send("touchEnd")
