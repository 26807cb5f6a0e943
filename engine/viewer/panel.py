"""The controls of one client, and what they say, checked: a browser may send anything."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from queue import Full, Queue
from typing import Any

import viser

from engine.runs.run import Run
from engine.viewer.state import MIXTURE, ViewState, kinds_of
from scenes.points.start import holds_start_points

NO_WIPE, FREE = "off", "free"
SPEEDS = {"0.1x": 0.1, "0.25x": 0.25, "0.5x": 0.5, "1x": 1.0, "2x": 2.0, "4x": 4.0}
MOST_SIDE = 8192  # px, of files
MOST_IMAGES = 10_000  # of a path
WAITING = 8  # clicks that are kept until there is time for them
COLDEST, HOTTEST = 0.01, 100.0  # temperature
_MARKS = re.compile(r"[\\`*_{}\[\]<>&#|~$]")
HELP = "Drag: turn. Right drag: move. Wheel: nearer. W A S D Q E: fly."


class Panel:
    """The controls of a client; `wake` is called when one changes. Clicks wait in `clicks` by name.

    event_loop: viser's, which takes in what browsers send. What sets a control waits for it: do not call that on it.
    """

    def __init__(
        self, gui: viser.GuiApi, run: Run, wake: Callable[[], None], *, event_loop: asyncio.AbstractEventLoop
    ) -> None:
        self._names = [expert.name for expert in run.experts]
        self._kinds = kinds_of(self._names)
        self._last = run.scene.num_frames - 1
        self._temperature = run.router.eval_temperature
        self._wake, self._event_loop = wake, event_loop
        self.cameras = tuple(view.name for view in run.scene.views)
        self.clicks: Queue[str] = Queue(maxsize=WAITING)
        self.info = gui.add_markdown("")
        self._add_time(gui)
        self._add_picture(gui)
        self._add_camera(gui, run)
        self._add_files(gui, run)

    def _add_time(self, gui: viser.GuiApi) -> None:
        with gui.add_folder("Time"):
            self._frame = self._heard(gui.add_slider("frame", 0, max(self._last, 1), 1, 0, disabled=self._last == 0))
            self._playing = self._heard(gui.add_checkbox("play", False))
            self._speed = self._heard(gui.add_dropdown("speed", tuple(SPEEDS), initial_value="1x"))
            self._loop = self._heard(gui.add_checkbox("loop", True))

    def _add_picture(self, gui: viser.GuiApi) -> None:
        with gui.add_folder("Picture"):
            self._shown = self._heard(gui.add_dropdown("show", self._kinds, initial_value=MIXTURE))
            wipes = (NO_WIPE, *self._kinds)
            self._against = self._heard(gui.add_dropdown("wipe to", wipes, initial_value=NO_WIPE))
            self._wipe = self._heard(gui.add_slider("wipe at", 0.0, 1.0, 0.01, 0.5))
        self._enabled: list[Any] = []
        if len(self._names) > 1:
            with gui.add_folder("Experts"):
                self._enabled = [gui.add_checkbox(name, True) for name in self._names]
                for box in self._enabled:
                    box.on_update(self._keep_one_on)
                limits: dict[str, Any] = {"min": COLDEST, "max": HOTTEST, "step": 0.01}
                hint = "Small: the best expert alone. Large: the mean of all."
                self._heat = self._heard(gui.add_number("temperature", float(self._temperature), hint=hint, **limits))

    def _add_camera(self, gui: viser.GuiApi, run: Run) -> None:
        with gui.add_folder("Camera"):
            gui.add_markdown(HELP)
            first = self.cameras[run.scene.test[0]]
            self._at = self._heard(gui.add_dropdown("go to", (FREE, *self.cameras), initial_value=first))
            self._fov = self._heard(gui.add_slider("field of view", 5.0, 120.0, 0.5, 50.0, hint="Vertical, degrees."))
            self._rig = self._heard(gui.add_checkbox("show cameras", False))
            none = not holds_start_points(run.scene.root)
            hint = "The scene's folder has none." if none else "Of frame 0."
            self._points = self._heard(gui.add_checkbox("show start points", False, disabled=none, hint=hint))

    def _add_files(self, gui: viser.GuiApi, run: Run) -> None:
        camera = run.scene.views[run.scene.test[0]].camera
        with gui.add_folder("Files", expand_by_default=False):
            side: dict[str, Any] = {"min": 1, "max": MOST_SIDE, "step": 1}
            self._width = gui.add_number("width", int(camera.width), **side)
            self._height = gui.add_number("height", int(camera.height), **side)
            self._button(gui, "screenshot", "Screenshot")
            self._button(gui, "json", "Camera as JSON")
            self._text = gui.add_text("JSON", "", multiline=True, hint="For render --trajectory FILE.json")
        with gui.add_folder("Path", expand_by_default=False):
            self.keys = gui.add_markdown("no key camera")
            self._button(gui, "key", "Add key camera")
            self._button(gui, "drop", "Remove the last")
            self._images = gui.add_number("images", max(self._last + 1, 2), min=2, max=MOST_IMAGES, step=1)
            self._button(gui, "path", "Download path")
            self._button(gui, "video", "Download video")

    def _heard(self, control: Any) -> Any:
        control.on_update(lambda _: self._wake())
        return control

    def _button(self, gui: viser.GuiApi, name: str, label: str) -> None:
        @gui.add_button(label).on_click
        def _(_: Any) -> None:
            try:
                self.clicks.put_nowait(name)
            except Full:
                return
            self._wake()

    async def _keep_one_on(self, _: Any) -> None:
        """Switches all experts on where the last was switched off; viser runs it on its event loop after a change."""
        if not any(box.value for box in self._enabled):
            for box in self._enabled:
                box.value = True
        self._wake()

    def _write(self, control: Any, value: Any) -> None:
        """Sets a control on viser's event loop, unless a browser sets it meanwhile.

        viser stores what a browser sends, and then drops what waits to be sent to that browser for the control. A write
        of another thread can fall in between, and the browser never hears of it.
        """
        before = control.value
        if before == value:
            return

        async def write() -> None:
            if control.value is before:  # not ==, as a browser may have sent NaN
                control.value = value

        asyncio.run_coroutine_threadsafe(write(), self._event_loop).result()

    def state(self, frame: float) -> ViewState:
        """The state that the controls say, at a frame; what is no value of a control counts as its first."""
        enabled = tuple(bool(box.value) for box in self._enabled)
        if not any(enabled):  # there is no mixture of none
            enabled = (True,) * len(self._names)
        against = self._against.value
        heat = _number(self._heat.value, COLDEST, HOTTEST, self._temperature) if self._enabled else self._temperature
        return ViewState(
            shown=self._kind(self._shown.value),
            against=None if against == NO_WIPE else self._kind(against),
            wipe=_number(self._wipe.value, 0.0, 1.0, 0.5),
            frame=frame,
            enabled=enabled,
            temperature=self._temperature if abs(heat - self._temperature) < 1e-6 else heat,
        )

    def _kind(self, value: Any) -> str:
        return value if value in self._kinds else MIXTURE

    @property
    def frame(self) -> int:
        """The frame of the slider."""
        return round(_number(self._frame.value, 0, self._last, 0))

    @frame.setter
    def frame(self, value: float) -> None:
        self._write(self._frame, int(value))

    @property
    def playing(self) -> bool:
        """True while time runs."""
        return bool(self._playing.value) and self._last > 0

    @playing.setter
    def playing(self, value: bool) -> None:
        self._write(self._playing, value)

    @property
    def speed(self) -> float:
        """The speed of playing, as a multiple of the recording's."""
        return SPEEDS.get(self._speed.value, 1.0) if isinstance(self._speed.value, str) else 1.0

    @property
    def loop(self) -> bool:
        """True where the clip starts again after its last frame."""
        return bool(self._loop.value)

    @property
    def at(self) -> int | None:
        """The index of the recorded camera that is chosen; None: none."""
        value = self._at.value
        return self.cameras.index(value) if value in self.cameras else None

    @at.setter
    def at(self, view: int | None) -> None:
        self._write(self._at, FREE if view is None else self.cameras[view])

    @property
    def fov(self) -> float:
        """The vertical field of view of the slider, in radians."""
        return math.radians(_number(self._fov.value, 5.0, 120.0, 50.0))

    def show_fov(self, radians: float) -> float:
        """Moves the slider to a vertical field of view; gives the nearest one that it has, in radians."""
        degrees = min(max(round(2 * math.degrees(radians)) / 2, 5.0), 120.0)
        self._write(self._fov, degrees)
        return math.radians(degrees)

    def show_text(self, text: str) -> None:
        """Writes a text into the box for JSON."""
        self._write(self._text, text)

    @property
    def rig(self) -> bool:
        """True where the scene's cameras are drawn."""
        return bool(self._rig.value)

    @property
    def points(self) -> bool:
        """True where the scene's start points are drawn."""
        return bool(self._points.value)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of files, px."""
        return (
            round(_number(self._width.value, 1, MOST_SIDE, 640)),
            round(_number(self._height.value, 1, MOST_SIDE, 480)),
        )

    @property
    def images(self) -> int:
        """The number of images of a path."""
        return round(_number(self._images.value, 2, MOST_IMAGES, self._last + 1))


def literally(text: str) -> str:
    """A text for the panel's Markdown that shows it as it is: names of folders and faults may hold any mark or HTML."""
    return _MARKS.sub(r"\\\g<0>", text)


def _number(value: Any, least: float, most: float, otherwise: float) -> float:
    """A number between two limits; another where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return otherwise
    return min(max(value, least), most)
