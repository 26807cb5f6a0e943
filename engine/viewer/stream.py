"""The pictures of one browser on their way: one is encoded while the next is rendered."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import numpy as np
import viser

from engine.viewer.cameras import letterboxed


class Stream:
    """Sends one browser's pictures in turn. encoders: threads that encode them, also those of other browsers."""

    def __init__(self, handle: viser.ClientHandle, encoders: Executor) -> None:
        self._handle, self._encoders = handle, encoders
        self._sending: Future[None] | None = None

    def send(self, image: np.ndarray, *, aspect: float, quality: int) -> None:
        """Begins to send an image, uint8 [h, w, 3], in a window of an aspect; quality: of JPEG.

        Waits until the one before is encoded, so that none is late by more than one. Raises what that one raised.
        """
        self.wait()
        self._sending = self._encoders.submit(send_picture, self._handle, image, aspect=aspect, quality=quality)

    def wait(self) -> None:
        """Waits until the last image is encoded. Raises what that raised."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.result()


def send_picture(handle: viser.ClientHandle, image: np.ndarray, *, aspect: float, quality: int) -> None:
    """Encodes an image, uint8 [h, w, 3], and hands it to viser, which sends it in a thread of its own.

    viser drops a picture that is still unsent when the next one comes: a slow connection shows fewer. Without a flush
    it waits for 1/60 s after each, which is less than 60 pictures a second with the time that they take.
    """
    handle.scene.set_background_image(letterboxed(image, aspect), format="jpeg", jpeg_quality=quality)
    handle.flush()
