"""A browser without a screen, in a process of its own: `python -m benchmarks.viewer.client PORT SECONDS WIDTH HEIGHT`.

It speaks viser's protocol, lets a clip play at four times its speed, and prints when each picture came as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import msgspec
import viser
import zstandard
from websockets import Subprotocol
from websockets.sync.client import ClientConnection, connect

CAMERA = {
    "wxyz": [1, 0, 0, 0],
    "position": [0, 0, 0],
    "look_at": [0, 0, 3],
    "up_direction": [0, -1, 0],
    "fov": 0.7,
    "near": 0.1,
    "far": 100,
}
PLAYED = (("speed", "4x"), ("play", True))  # controls by label, and what they are set to
WARM_UP = 0.2  # of the time, before which pictures are not counted


def connected(port: int) -> ClientConnection:
    """The connection to a viewer of this machine."""
    protocol = Subprotocol(f"viser-v{viser.__version__}")
    return connect(f"ws://127.0.0.1:{port}", subprotocols=[protocol], max_size=None, ping_interval=None)


def encoded(kind: str, **content: Any) -> bytes:
    """A message as a browser sends it."""
    return msgspec.msgpack.encode({"type": kind, **content})


def decoded(raw: bytes | str) -> list[dict[str, Any]]:
    """The messages of what the server sent at once."""
    assert isinstance(raw, bytes)
    size = int.from_bytes(raw[8:16], "little")
    content = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(raw[16 : 16 + size]))
    return list(content["messages"])


def arrivals(port: int, *, seconds: float, size: tuple[int, int]) -> tuple[list[float], int]:
    """The times at which pictures came while a clip was played, and the mean of their bytes.

    size: width and height of the window, px.
    """
    with connected(port) as socket:
        socket.send(encoded("ViewerCameraMessage", **CAMERA, image_width=size[0], image_height=size[1]))
        controls: dict[str, str] = {}
        times, sizes, end = [], [], float("inf")
        while time.monotonic() < end:
            for message in decoded(socket.recv(timeout=60)):
                if message["type"].startswith("Gui") and "props" in message:
                    controls[str(message["props"].get("label"))] = message["uuid"]
                elif message["type"] == "BackgroundImageMessage" and message["rgb_data"] is not None:
                    if end == float("inf"):
                        for label, value in PLAYED:
                            socket.send(encoded("GuiUpdateMessage", uuid=controls[label], updates={"value": value}))
                        begin = time.monotonic() + WARM_UP * seconds
                        end = begin + seconds
                    elif time.monotonic() >= begin:
                        times.append(time.monotonic())
                        sizes.append(len(message["rgb_data"]))
    return times, round(sum(sizes) / max(len(sizes), 1))


def main(arguments: list[str]) -> int:
    """Prints the times of pictures in seconds, and the mean of their bytes, as JSON."""
    port, width, height = int(arguments[0]), int(arguments[2]), int(arguments[3])
    times, size = arrivals(port, seconds=float(arguments[1]), size=(width, height))
    print(json.dumps({"times": times, "bytes": size}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
