"""The camera inside the settings of the original rasterizer, whose matrices are transposed and already multiplied."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..types import Camera, RasterizerError

TOLERANCE = 1e-3  # relative; float32 matrices multiplied in reduced precision (TF32) still agree to this


class CameraSettings(Protocol):
    """Fields of the original's settings that describe the camera; matrices multiply row vectors from the right."""

    @property
    def image_height(self) -> int: ...
    @property
    def image_width(self) -> int: ...
    @property
    def tanfovx(self) -> float: ...
    @property
    def tanfovy(self) -> float: ...
    @property
    def viewmatrix(self) -> Tensor: ...
    @property
    def projmatrix(self) -> Tensor: ...
    @property
    def campos(self) -> Tensor: ...


def camera_of(settings: CameraSettings, *, uses_campos: bool) -> Camera:
    """The pinhole camera of the settings, with the principal point that projmatrix holds.

    Its focal lengths are those of tanfovx and tanfovy, as in the original's footprints. One transfer brings the
    matrices from a GPU.

    Raises RasterizerError where viewmatrix is not a transposed world-to-camera matrix, where projmatrix is not
    viewmatrix times a pinhole projection of these tanfov, and, with uses_campos, where campos is not its centre.
    """
    width, height = int(settings.image_width), int(settings.image_height)
    slopes = float(settings.tanfovx), float(settings.tanfovy)
    if not min(slopes) > 0:
        raise RasterizerError(
            f"tanfovx and tanfovy are {slopes}, expected tangents of half the fields of view, above 0"
        )
    view, full, campos = _numbers(settings)
    _check_view(view)
    projection = full @ torch.linalg.inv(view)
    _check_projection(projection, slopes, float(view[:3, 3].norm()))
    camera = Camera(
        world_to_camera=view,
        fx=width / (2 * slopes[0]),
        fy=height / (2 * slopes[1]),
        cx=width / 2 * (1 + float(projection[0, 2])),
        cy=height / 2 * (1 + float(projection[1, 2])),
        width=width,
        height=height,
    )
    if uses_campos:
        _check_campos(campos, camera.centre)
    return camera


def _numbers(settings: CameraSettings) -> tuple[Tensor, Tensor, Tensor]:
    """World-to-camera and full projection for column vectors [4, 4], and campos [3]: float64 on the CPU."""
    tensors = {name: getattr(settings, name).detach() for name in ("viewmatrix", "projmatrix", "campos")}
    for name, count in (("viewmatrix", 16), ("projmatrix", 16), ("campos", 3)):
        if tensors[name].numel() != count:
            raise RasterizerError(f"{name} has shape {list(tensors[name].shape)}, expected {count} values")
    device = settings.viewmatrix.device
    parts = [tensor.to(device, torch.float64).reshape(-1) for tensor in tensors.values()]
    numbers = torch.cat(parts).cpu()
    return numbers[:16].reshape(4, 4).T, numbers[16:32].reshape(4, 4).T, numbers[32:]


def _check_view(view: Tensor) -> None:
    last = view.new_tensor([0, 0, 0, 1])
    if not torch.allclose(view[3], last, atol=1e-6) or not bool(view.isfinite().all()):
        raise RasterizerError(
            f"viewmatrix has the last column {view[3].tolist()}, expected [0, 0, 0, 1]: it is the transposed "
            "world-to-camera matrix, world_to_camera.T"
        )
    if float(torch.linalg.det(view)) == 0:
        raise RasterizerError("viewmatrix has no inverse, expected a transposed world-to-camera matrix")


def _check_projection(projection: Tensor, slopes: tuple[float, float], distance: float) -> None:
    """Rows x, y and w of projection [4, 4]: scale, principal point, and the division by z."""
    expected = projection.clone()
    expected[[0, 1, 3]] = 0
    expected[0, 0], expected[1, 1], expected[3, 2] = 1 / slopes[0], 1 / slopes[1], 1
    expected[:2, 2] = projection[:2, 2]
    scale = max(1, 1 / slopes[0], 1 / slopes[1])
    allowed = TOLERANCE * scale * projection.new_tensor([1, 1, 1, max(1, distance)])
    if bool(((projection - expected).abs() <= allowed).all()):
        return
    raise RasterizerError(
        f"projmatrix is not viewmatrix times a pinhole projection with tanfovx {slopes[0]:.6g} and tanfovy "
        f"{slopes[1]:.6g}: it scales x and y by {float(projection[0, 0]):.6g} and {float(projection[1, 1]):.6g}, not "
        f"{1 / slopes[0]:.6g} and {1 / slopes[1]:.6g}, and its w is {projection[3].tolist()}, expected [0, 0, 1, 0]; "
        "give viewmatrix @ projection.T, the transposed full projection"
    )


def _check_campos(campos: Tensor, centre: Tensor) -> None:
    if float((campos - centre).norm()) <= TOLERANCE * max(1.0, float(centre.norm())):
        return
    raise RasterizerError(
        f"campos is {campos.tolist()}, but viewmatrix puts the camera at {centre.tolist()}; give "
        "viewmatrix.inverse()[3, :3], or colours seen from elsewhere as colors_precomp"
    )
