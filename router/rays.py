"""Ray maps of the cameras that training comes back to."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import fields

import torch
from moegs_rasterizer import Camera, camera_rays
from torch import Tensor

MOST = 2**30  # bytes in all; the 20 cameras of an N3V scene at 1352x1014 take 0.66e9


class KeptRays:
    """Keeps the results of `camera_rays` for the cameras asked for last, as many as fit into `most` bytes.

    Copies and pickles of an owner start without them.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._maps: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()  # the last asked for last

    def of(self, camera: Camera, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Ray map [6, h, w] of a camera, shared by all who ask: do not change it."""
        values = {field.name: getattr(camera, field.name) for field in fields(camera)}
        matrix = values.pop("world_to_camera").flatten().tolist()
        key = (*matrix, *values.values(), dtype, device)
        rays = self._maps.pop(key, None)
        if rays is None:
            with torch.inference_mode(False), torch.no_grad():
                rays = camera_rays(camera, dtype=dtype, device=device)
        self._maps[key] = rays
        while sum(kept.nbytes for kept in self._maps.values()) > self._most:
            self._maps.popitem(last=False)
        return rays

    def __reduce__(self) -> tuple[type[KeptRays], tuple[int]]:
        return type(self), (self._most,)
