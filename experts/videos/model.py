"""Pictures of cameras in the place of a model: what another method rendered, as an expert shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn

from common.maths.tensors import image_from_uint8
from experts.base import CheckpointError, Provenance

SAME_POSE = 1e-5  # of the entries of world_to_camera
SAME_LENS = 1e-4  # of focal lengths and principal point, as shares of the size
SHRUNK_LENS = 0.02  # the same of a smaller image, whose sides are whole pixels


class PictureStore(Protocol):
    """Pictures by the number of their camera."""

    def read(self, view: int, frame: int) -> np.ndarray:
        """Read uint8 [h, w, 3] RGB of a camera at a frame (0 = the clip's start)."""
        ...

    def prepare(self, views: Iterable[int]) -> None:
        """Make pictures of cameras ready to be read."""
        ...


class Videos(nn.Module):
    """Pictures as an expert, of the cameras that `show` has given it and of no others."""

    name = "Videos"
    background: tuple[float, ...] = (0.0, 0.0, 0.0)
    num_gaussians = 0
    settings = RasterSettings()
    provenance = Provenance(files=(), iteration=0)
    _device: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.cameras: dict[str, Camera] = {}
        self.num_frames = 0
        self._store: PictureStore | None = None
        self.register_buffer("_device", torch.empty(0), persistent=False)  # moves with the module

    def show(self, cameras: dict[str, Camera], store: PictureStore, *, num_frames: int, provenance: Provenance) -> None:
        """Take the pictures of cameras, by name. store: knows them by their numbers in this order, at their sizes."""
        self.cameras, self._store = cameras, store
        self.num_frames, self.provenance = num_frames, provenance

    def prepare(self) -> None:
        """Make the pictures of all cameras ready to be read."""
        if self._store is not None:
            self._store.prepare(range(len(self.cameras)))

    def picture(self, camera: Camera, frame: float) -> Tensor:
        """The picture [3, h, w] in 0 ... 1 of a camera that has one, made smaller where the camera's image is smaller.

        CheckpointError as of `find`.
        """
        index, number = self.find(camera, frame)
        assert self._store is not None, "cameras come with pictures"
        pixels = torch.from_numpy(self._store.read(index, number))
        image = image_from_uint8(pixels.to(self._device.device))
        if image.shape[1:] != (camera.height, camera.width):
            image = F.interpolate(image[None], size=(camera.height, camera.width), mode="area")[0]
        return image

    def find(self, camera: Camera, frame: float) -> tuple[int, int]:
        """The numbers of a camera and a frame that have a picture.

        CheckpointError naming the nearest camera with pictures where this one has none, and for a frame without one.
        """
        index = self._index(camera)
        if not (frame == int(frame) and 0 <= frame < self.num_frames):
            raise CheckpointError(
                f"{self.name}: has no picture of frame {frame:g}, but of frames 0 to {self.num_frames - 1}; show one "
                f"of these, or leave {self.name} out"
            )
        return index, int(frame)

    def rows(self, frame: float) -> slice:
        """No row: there are no Gaussians."""
        return slice(0, 0)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """There is none; raises CheckpointError."""
        self._refuse()

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """There is none of a splat; raises CheckpointError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise CheckpointError(f"{self.name}: has pictures of cameras, and no Gaussians; leave it out here")

    def _index(self, camera: Camera) -> int:
        for index, own in enumerate(self.cameras.values()):
            if _is_same(own, camera):
                return index
        x, y, z = camera.centre.tolist()
        raise CheckpointError(
            f"{self.name}: has no picture of a camera at ({x:.3g}, {y:.3g}, {z:.3g}), the nearest with one is "
            f"{self._nearest(camera)}; show a camera of the scene, or leave {self.name} out"
        )

    def _nearest(self, camera: Camera) -> str:
        away = {name: float((own.centre - camera.centre).norm()) for name, own in self.cameras.items()}
        return min(away, key=lambda name: away[name], default="none")


def _is_same(own: Camera, other: Camera) -> bool:
    """True where another camera's image is that of its own, or a smaller one of it."""
    if other.width > own.width or other.height > own.height:
        return False
    if not torch.allclose(own.world_to_camera, other.world_to_camera.to(own.world_to_camera), rtol=0, atol=SAME_POSE):
        return False
    most = SAME_LENS if (own.width, own.height) == (other.width, other.height) else SHRUNK_LENS
    return all(abs(a - b) <= most for a, b in zip(_lens(own), _lens(other), strict=True))


def _lens(camera: Camera) -> Sequence[float]:
    return camera.fx / camera.width, camera.fy / camera.height, camera.cx / camera.width, camera.cy / camera.height
