"""Ray maps of the cameras that training comes back to."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import fields

import torch
from moegs_rasterizer import Camera, camera_rays
from torch import Tensor

MOST = 2**30  # bytes in all; the 20 cameras of an N3V scene at 1352x1014 take 0.66e9

_Key = tuple[object, ...]  # all values of a camera, and where its rays lie


class KeptRays:
    """Keeps the results of `camera_rays` for the cameras asked for last, as many as fit into `most` bytes.

    Copies and pickles of an owner start without them.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._maps: OrderedDict[_Key, Tensor] = OrderedDict()  # the last asked for last
        self._last: tuple[_Key, Tensor] | None = None  # of `of_last`

    def of(self, camera: Camera, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Ray map [6, h, w] of a camera, shared by all who ask: do not change it."""
        key = _key(camera, dtype, device)
        rays = self._maps.pop(key, None)
        if rays is None:
            rays = _made(camera, dtype, device)
        self._maps[key] = rays
        while sum(kept.nbytes for kept in self._maps.values()) > self._most:
            self._maps.popitem(last=False)
        return rays

    def of_last(self, camera: Camera, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Ray map [6, h, w] of a camera that nobody may come back to: one is kept, that of the last camera."""
        key = _key(camera, dtype, device)
        if key in self._maps:
            return self._maps[key]
        if self._last is None or self._last[0] != key:
            self._last = key, _made(camera, dtype, device)
        return self._last[1]

    def __reduce__(self) -> tuple[type[KeptRays], tuple[int]]:
        return type(self), (self._most,)


def _key(camera: Camera, dtype: torch.dtype, device: torch.device) -> _Key:
    values = {field.name: getattr(camera, field.name) for field in fields(camera)}
    matrix = values.pop("world_to_camera").flatten().tolist()
    return (*matrix, *values.values(), dtype, device)


def _made(camera: Camera, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return camera_rays(camera, dtype=dtype, device=device)
