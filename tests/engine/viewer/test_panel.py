"""Controls that the viewer sets in the same moment as a browser: both show the same afterwards."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("viser", reason="the viewer needs viser: pip install -r requirements-dev.txt -c constraints.txt")

from viser.infra import WebsockClientConnection

from engine.viewer.panel import FREE, Panel
from engine.viewer.server import Viewer
from tests.engine.viewer.browser import Browser
from tests.small_world import NAMES, small_run

pytestmark = pytest.mark.filterwarnings("ignore:Queued a .* on a closed connection")
HELD = 0.3  # seconds that viser is held for a write, which may wait for viser


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """A viewer that does not render: controls change by what tests do alone."""
    viewer = Viewer(small_run(tmp_path_factory.mktemp("viewer")), port=8961)
    yield viewer
    viewer.close()


@pytest.fixture
def browser(viewer: Viewer) -> Iterator[Browser]:
    browser = Browser(viewer.port)
    browser.wait(lambda one: "Download video" in one.controls and viewer.clients > 0)
    yield browser
    browser.close()


@pytest.fixture
def panel(viewer: Viewer, browser: Browser) -> Panel:
    return viewer._clients[max(viewer._clients)].panel


@pytest.fixture
def in_between(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Does something in another thread whenever viser has stored what a browser sent, and not yet told others of it."""

    def between(deed: Callable[[], Any], *, longest: float) -> None:
        queue_message = WebsockClientConnection.queue_message

        def told(self: WebsockClientConnection, message: Any) -> None:
            if message.excluded_self_client is not None:
                thread = threading.Thread(target=deed)
                thread.start()
                thread.join(longest)
            queue_message(self, message)

        monkeypatch.setattr(WebsockClientConnection, "queue_message", told)

    return between


def test_a_browser_sees_that_its_last_expert_switches_all_on(browser: Browser, panel: Panel, in_between) -> None:
    states = []
    in_between(lambda: states.append(panel.state(0.0)), longest=10.0)
    for name in NAMES:
        browser.set(name, False)
    browser.wait(lambda one: all(one.values.get(one.controls[name]) for name in NAMES))
    assert [state.enabled for state in states] == [(False, True, True), (False, False, True), (True, True, True)]


@pytest.mark.parametrize(
    ("label", "sent", "write", "written"),
    [
        ("frame", 1, lambda panel: setattr(panel, "frame", 2), 2),
        ("play", True, lambda panel: setattr(panel, "playing", False), False),
        ("go to", "cam02", lambda panel: setattr(panel, "at", None), FREE),
        ("field of view", 30.0, lambda panel: panel.show_fov(math.radians(60)), 60.0),
        ("JSON", "typed", lambda panel: panel.show_text("written"), "written"),
    ],
)
def test_a_browser_sees_what_is_written_beside_its_own_change(
    browser: Browser, panel: Panel, in_between, label: str, sent: Any, write: Callable[[Panel], Any], written: Any
) -> None:
    in_between(lambda: write(panel), longest=HELD)
    browser.set(label, sent)
    browser.wait(lambda one: one.values.get(one.controls[label]) == written)


def test_a_browsers_change_just_before_a_write_stays(browser: Browser, panel: Panel, monkeypatch) -> None:
    """As of one who drags the slider while time runs."""
    soon = panel._event_loop.call_soon_threadsafe

    def late(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        browser.set("frame", 1)
        browser.wait(lambda _: panel.frame == 1)
        return soon(*args, **kwargs)

    monkeypatch.setattr(panel._event_loop, "call_soon_threadsafe", late)
    panel.frame = 2
    assert panel.frame == 1
    panel.frame = 2
    assert panel.frame == 2
