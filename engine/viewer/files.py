"""The files that a browser asks for: screenshots, a camera as JSON, and a path through key cameras, also as a video."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass

import viser
from moegs_rasterizer import Camera
from PIL import Image

from common.text.wording import counted
from engine.runs.run import Run
from engine.viewer.cameras import Pose, camera_of, path_json, path_through
from engine.viewer.film import filmed
from engine.viewer.images import picture_of
from engine.viewer.panel import Panel, literally
from scenes import Scene

logger = logging.getLogger(__name__)

MOST_KEYS = 1000
MOST_PIXELS = 3840 * 2160  # of rendered files, if the recording has no more: a CPU needs 0.6 kB of memory for each


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The camera and the time of a click."""

    run: Run
    pose: Pose
    view: int | None  # the scene's camera that the pose is; None: none
    frame: float


class Files:
    """Serves the buttons of one browser's panel by name; it keeps the key cameras."""

    def __init__(self, handle: viser.ClientHandle, panel: Panel) -> None:
        self._handle, self._panel = handle, panel
        self._keys: list[tuple[Pose, float]] = []
        self._film: Generator[bytes | None, None, None] | None = None
        self._filmed = 0  # images
        self._served: dict[str, Callable[[Moment], None]] = {
            "screenshot": self._screenshot,
            "json": self._show_json,
            "key": self._add_key,
            "drop": self._drop_key,
            "path": self._send_path,
            "video": self._begin_or_stop_film,
        }

    def serve(self, click: str, moment: Moment) -> None:
        """Does what the button of a name is for, or says at the top why it cannot be."""
        width, height = self._panel.size
        rendered = click == "screenshot" or (click == "video" and self._film is None)
        if rendered and width * height > (most := most_pixels(moment.run.scene)):
            told = f"{click}: {width}x{height} px are too many. Give a width times a height of {most:,} at most."
            self._panel.info.content = told
        else:
            self._served[click](moment)

    def _camera(self, moment: Moment) -> tuple[Camera, int | None]:
        """The camera in the size of files, and the scene's camera that it is exactly: of a recorded one's own size."""
        width, height = self._panel.size
        if moment.view is not None:
            recorded = moment.run.scene.views[moment.view].camera
            if (recorded.width, recorded.height) == (width, height):
                return recorded, moment.view
        return camera_of(moment.pose, width, height), None

    def _screenshot(self, moment: Moment) -> None:
        camera, view = self._camera(moment)
        state, scene = self._panel.state(moment.frame), moment.run.scene
        picture = picture_of(moment.run, state, camera, view=view, width=camera.width)
        file = io.BytesIO()
        Image.fromarray(picture.image).save(file, format="PNG")
        where = "free" if view is None else scene.views[view].name
        self._send(f"{scene.name}_{where}_{moment.frame:g}.png", file.getvalue())

    def _show_json(self, moment: Moment) -> None:
        self._panel.show_text(path_json([(self._camera(moment)[0], moment.frame)]))

    def _add_key(self, moment: Moment) -> None:
        if len(self._keys) < MOST_KEYS:
            self._keys.append((moment.pose, moment.frame))
        self._tell_keys()

    def _drop_key(self, moment: Moment) -> None:
        self._keys = self._keys[:-1]
        self._tell_keys()

    def _tell_keys(self) -> None:
        frames = ", ".join(f"{frame:g}" for _, frame in self._keys)
        self._panel.keys.content = f"key cameras at frames {frames}" if self._keys else "no key camera"

    def _way(self) -> list[tuple[Camera, float]] | None:
        """The cameras and frames of the path; None, and a line that says so, for less than two keys."""
        if len(self._keys) < 2:
            self._panel.keys.content = f"{counted(len(self._keys), 'key camera')}: add two or more"
            return None
        keys = [(camera_of(pose, *self._panel.size), frame) for pose, frame in self._keys]
        return path_through(keys, self._panel.images)

    def _send_path(self, moment: Moment) -> None:
        if (way := self._way()) is not None:
            self._send(f"{moment.run.scene.name}_path.json", path_json(way).encode())

    def _begin_or_stop_film(self, moment: Moment) -> None:
        if self._film is not None:
            self.close()
            self._panel.keys.content = f"video stopped after {counted(self._filmed, 'image')}"
        elif (way := self._way()) is not None:
            self._film, self._filmed = filmed(moment.run, self._panel.state(moment.frame), way), 0

    def film_on(self, run: Run) -> bool:
        """Makes the next image of the video that was asked for; True while it goes on.

        The video is sent after its last image. One that fails is given up, and the panel says why.
        """
        if self._film is None:
            return False
        try:
            video = next(self._film)
        except Exception as error:  # what one browser's video causes is no matter of others
            logger.debug("a video failed", exc_info=True)
            self._panel.keys.content = literally(f"the video failed: {type(error).__name__}: {error}")
            self.close()
            return False
        if video is None:
            self._filmed += 1
            self._panel.keys.content = f"video: image {self._filmed} (a second click stops it)"
            return True
        self.close()
        self._send(f"{run.scene.name}_path.mp4", video)
        self._tell_keys()
        return False

    def close(self) -> None:
        """Gives the video up that is being made."""
        film, self._film = self._film, None
        if film is not None:
            film.close()

    def _send(self, name: str, content: bytes) -> None:
        self._handle.send_file_download(name, content, save_immediately=True)


def most_pixels(scene: Scene) -> int:
    """The pixels that a rendered file may have: more would end the viewer for all browsers, by the memory they take."""
    return max(MOST_PIXELS, *(view.camera.width * view.camera.height for view in scene.views))
