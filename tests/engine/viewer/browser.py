"""A browser without a screen: speaks viser's protocol, keeps what it is shown, and may send anything."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.viewer.client import connected, decoded, encoded

LONGEST = 20.0  # seconds to wait for anything
QUIET = 0.35  # seconds without a picture, after which the last one stays


class Browser:
    """One connection. `controls`: id by label; `values`: what the server set them to; `image`: the latest picture."""

    def __init__(self, port: int, *, size: tuple[int, int] = (48, 32), follows: bool = True) -> None:
        self._socket = connected(port)
        self._follows = follows  # goes to cameras that it is given, and reports that
        self.controls: dict[str, str] = {}
        self.given: dict[str, Any] = {}  # a camera to go to
        self.values: dict[str, Any] = {}
        self.visible: dict[str, bool] = {}  # things that are drawn, by name
        self.kinds: list[str] = []
        self.image: np.ndarray | None = None
        self.text = ""
        self.file = b""
        self.camera = {"wxyz": [1, 0, 0, 0], "position": [0, 0, 0], "fov": 0.7, "up_direction": [0, -1, 0]}
        self.camera |= {"image_width": size[0], "image_height": size[1], "near": 0.1, "far": 100, "look_at": [0, 0, 3]}
        self.move()

    def send(self, kind: str, **content: Any) -> None:
        self.send_bytes(encoded(kind, **content))

    def send_bytes(self, content: bytes) -> None:
        self._socket.send(content)

    def move(self, **camera: Any) -> None:
        self.camera |= camera
        self.send("ViewerCameraMessage", **self.camera)

    def set(self, label: str, value: Any) -> None:
        self.send("GuiUpdateMessage", uuid=self.controls[label], updates={"value": value})

    def wait(self, until: Callable[[Browser], bool]) -> Browser:
        """Takes in messages until something holds; TimeoutError where it does not come to hold."""
        end = time.monotonic() + LONGEST
        while not until(self):
            if time.monotonic() > end:
                raise TimeoutError(f"the viewer showed {self.text!r} and did not come to it")
            try:
                self._take(self._socket.recv(timeout=0.05))
            except TimeoutError:
                continue
        return self

    def settle(self) -> np.ndarray:
        """The picture after nothing has come for a while."""
        self.wait(lambda browser: browser.image is not None)
        quiet = time.monotonic() + QUIET
        while time.monotonic() < quiet:
            try:
                before = self.image
                self._take(self._socket.recv(timeout=0.05))
                if self.image is not before:
                    quiet = time.monotonic() + QUIET
            except TimeoutError:
                continue
        assert self.image is not None
        return self.image

    def listen(self, seconds: float) -> None:
        """Takes in what comes for so long, and all that has come by then."""
        end = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while True:
                self._take(self._socket.recv(timeout=max(end - time.monotonic(), 0)))

    def kill(self) -> None:
        """Cuts the connection without a word."""
        self._socket.socket.close()

    def close(self) -> None:
        self._socket.close()

    def _take(self, raw: bytes | str) -> None:
        for message in decoded(raw):
            self._take_message(message)
        if self._follows and self.given:
            self.follow()

    def follow(self) -> None:
        """Goes to the camera that the viewer has given."""
        self.move(**self.given)
        self.given = {}

    def _take_message(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        self.kinds.append(kind)
        if kind == "BackgroundImageMessage" and message["rgb_data"] is not None:
            self.image = np.asarray(Image.open(io.BytesIO(message["rgb_data"])).convert("RGB"))
        elif kind == "FileTransferPart":
            self.file += message["content"]
        elif kind == "GuiUpdateMessage":
            for name, value in message["updates"].items():
                self.values[message["uuid"]] = value
                if name in ("_markdown", "content"):
                    self.text = str(value)
        elif kind.startswith("Gui") and "props" in message:
            self.controls[str(message["props"].get("label"))] = message["uuid"]
        elif kind == "SetSceneNodeVisibilityMessage":
            self.visible[message["name"]] = message["visible"]
        elif kind == "SetCameraFovMessage":
            self.given["fov"] = message["fov"]
        elif kind == "SetCameraPositionMessage":
            self.given["position"] = message["position"]
