"""A headless Chromium that opens a page from disk: its DevTools protocol through pipes, which needs no package."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--enable-unsafe-swiftshader", "--remote-debugging-pipe", "--no-first-run")


def browser() -> str | None:
    """The path of a Chromium of this machine, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """An open page."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, os.fdopen(answers, "rb")
        self._number, self._session = 0, None
        self.messages: list[str] = []  # what the page logs

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the DevTools protocol."""
        self._number += 1
        session = {} if self._session is None else {"sessionId": self._session}
        text = json.dumps({"id": self._number, "method": method, "params": parameters, **session})
        os.write(self._commands, text.encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                self.messages.append(json.dumps(answer["params"])[:500])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _read(self) -> bytes:
        text = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            text += byte
        return bytes(text)

    def open(self, address: str, *, width: int, height: int) -> None:
        """Opens an address in a window of a size."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Runtime.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Page.navigate", url=address)
        self.run("new Promise(r => document.readyState === 'complete' ? r() : addEventListener('load', r))")

    def run(self, script: str) -> Any:
        """The value of an expression, or of the promise that it is."""
        found = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self) -> np.ndarray:
        """What the window shows [h, w, 3], 0 to 1."""
        data = self.ask("Page.captureScreenshot", format="png")["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), np.float32) / 255


@contextmanager
def opened(path: Path, profile: Path, *, address: str = "", width: int, height: int) -> Iterator[Page]:
    """A page from disk. address: what stands after its path. profile: an empty folder for Chromium."""
    name = browser()
    assert name is not None
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    given = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]  # 3 and 4 may be taken
    script = f'exec "$0" "$@" 3<&{given[0]} 4>&{given[1]}'  # Chromium reads from 3 and writes to 4
    words = ["bash", "-c", script, name, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(words, pass_fds=given, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for end in (theirs_in, theirs_out, *given):
        os.close(end)
    try:
        page = Page(ours_out, ours_in)
        page.open(f"{path.resolve().as_uri()}{address}", width=width, height=height)
        yield page
    finally:
        process.terminate()
        process.wait(30)
