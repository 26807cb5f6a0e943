"""Checks of the caller's input: wrong shapes, types, devices and values are refused by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral
from typing import get_args

import torch
from torch import Tensor

from .types import (
    Camera,
    DepthKind,
    Gaussians,
    Layer,
    RasterizerError,
    RasterSettings,
    RawGaussians,
    RawLayer,
    TileRule,
)
from .views import determinant, matrix_rows

OPACITY_TOLERANCE = 1e-6
LAST_ROW_TOLERANCE = 1e-5
SH_COUNTS = (1, 4, 9, 16)
LARGEST_SIDE = 65535  # pixels of an image
DTYPES = (torch.float32, torch.float64)
# The shape of a row of each tensor [n, ...].
ROWS: dict[str, tuple[int | str, ...]] = {
    "means": (3,),
    "scales": (3,),
    "quats": (4,),
    "opacities": (),
    "sh": ("(degree + 1)^2", 3),
    "colours": ("k",),
    "features": ("c",),
    "log_scales": (3,),
    "opacity_logits": (),
    "sh_dc": (1, 3),
    "sh_rest": ("(degree + 1)^2 - 1", 3),
}


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise RasterizerError unless the value is one of those allowed; the message offers the nearest."""
    if value in allowed:
        return
    near = difflib.get_close_matches(str(value), allowed, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise RasterizerError(f"{name} is {value!r}, expected one of {', '.join(allowed)}{hint}")


def validate(layers: object, camera: Camera) -> None:
    """Raise RasterizerError, naming layer and tensor, for wrong shapes, types, devices, settings and cameras."""
    check_camera(camera)
    if not isinstance(layers, list):
        raise RasterizerError(
            f"layers is a {type(layers).__name__}, expected a sequence of Layer; write rasterize([layer], camera)"
        )
    for index, layer in enumerate(layers):
        name = f"layer {index}"
        if not isinstance(layer, (Layer, RawLayer)):
            raise RasterizerError(f"{name} is a {type(layer).__name__}, expected a Layer")
        if not isinstance(layer.gaussians, (Gaussians, RawGaussians)):
            raise RasterizerError(f"{name}: gaussians is a {type(layer.gaussians).__name__}, expected Gaussians")
        check_settings(name, layer.settings)
        tensors = _tensors(layer)
        _check_shapes(name, layer, tensors)
        _check_kind(name, tensors, layers[0].gaussians.means)


def check_dense(name: str, field: str, tensor: object) -> None:
    """Raise RasterizerError unless the value is a tensor whose numbers lie one by one in memory.

    Operators must never meet another: what PyTorch raises inside them ends the process (2.11).
    """
    if not isinstance(tensor, Tensor):
        raise RasterizerError(f"{name}: {field} is a {type(tensor).__name__}, expected a torch.Tensor")
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "a nested tensor" if tensor.is_nested else f"a tensor of layout {tensor.layout}"
        raise RasterizerError(f"{name}: {field} is {kind}, expected a dense one; convert it with .to_dense()")


def validate_values(layers: list[Layer]) -> None:
    """Raise RasterizerError, naming layer, tensor and row, for NaN, infinite and impossible values."""
    for index, layer in enumerate(layers):
        _check_values(f"layer {index}", layer)


def check_camera(camera: Camera) -> None:
    """Raise RasterizerError unless the camera can be rendered from."""
    if not isinstance(camera, Camera):
        raise RasterizerError(f"camera is a {type(camera).__name__}, expected a moegs_rasterizer.Camera")
    for name in ("width", "height"):
        size = getattr(camera, name)
        if not isinstance(size, Integral) or not 1 <= int(size) <= LARGEST_SIDE:
            raise RasterizerError(
                f"camera: {name} is {size!r:.40}, expected a whole number of pixels from 1 to {LARGEST_SIDE}"
            )
    for name in ("fx", "fy", "cx", "cy"):
        given = getattr(camera, name)
        value = _number(given)
        if not math.isfinite(value) or (name in ("fx", "fy") and value <= 0):
            raise RasterizerError(
                f"camera: {name} is {given!r:.40}, expected a finite number of pixels, focal lengths above 0"
            )
    matrix = camera.world_to_camera
    check_dense("camera", "world_to_camera", matrix)
    if matrix.is_meta or matrix.is_complex():
        kind = "a meta tensor, which has no values" if matrix.is_meta else f"{matrix.dtype}"
        raise RasterizerError(f"camera: world_to_camera is {kind}, expected a real matrix [4, 4]")
    if tuple(matrix.shape) != (4, 4):
        raise RasterizerError(f"camera: world_to_camera has shape {list(matrix.shape)}, expected [4, 4]")
    rows = matrix_rows(matrix)
    if not all(math.isfinite(value) for row in rows for value in row):
        _check_finite("camera", "world_to_camera", matrix)
    off = max(abs(value - wanted) for value, wanted in zip(rows[3], (0, 0, 0, 1), strict=True))
    if off > LAST_ROW_TOLERANCE or determinant(rows) == 0:
        raise RasterizerError("camera: world_to_camera is not an invertible [R t; 0 1] matrix; it may be transposed")


def _number(value: object) -> float:
    """A number as a float; NaN where it is none."""
    try:
        return math.nan if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return math.nan


def check_settings(name: str, settings: RasterSettings) -> None:
    """Raise RasterizerError, beginning with the name, unless the settings can be used."""
    if not isinstance(settings, RasterSettings):
        raise RasterizerError(f"{name}: settings is a {type(settings).__name__}, expected RasterSettings")
    check_choice(f"{name}: tile_rule", settings.tile_rule, get_args(TileRule))
    check_choice(f"{name}: depth", settings.depth, get_args(DepthKind))
    lowest = {"low_pass": 0.0, "near": 0.0, "far": settings.near, "ndc_limit": 0.0}
    for field, bound in lowest.items():
        value = getattr(settings, field)
        if value is not None and not (math.isfinite(value) and value >= bound):
            raise RasterizerError(f"{name}: {field} is {value}, expected a finite number, {bound} or more")


def _check_shapes(name: str, layer: Layer | RawLayer, tensors: dict[str, Tensor]) -> None:
    gaussians = layer.gaussians
    if isinstance(gaussians, Gaussians) and (gaussians.sh is None) == (gaussians.colours is None):
        given = "neither" if gaussians.sh is None else "both"
        raise RasterizerError(f"{name}: {given} of sh and colours is given, expected exactly one")
    for field, tensor in tensors.items():
        check_dense(name, field, tensor)
    n = len(gaussians.means) if gaussians.means.dim() else 0
    for field, tensor in tensors.items():
        row = ROWS.get(field)
        if row is not None and not _fits(tensor.shape, n, row):
            wanted = ", ".join(str(size) for size in (n, *row))
            raise RasterizerError(f"{name}: {field} has shape {list(tensor.shape)}, expected [{wanted}]")
    _check_coefficients(name, tensors)
    colours = gaussians.colour_channels if isinstance(gaussians, Gaussians) else 3
    channels = colours + (0 if layer.features is None else layer.features.shape[1])
    if tuple(layer.background.shape) != (channels,):
        raise RasterizerError(
            f"{name}: background has shape {list(layer.background.shape)}, expected [{channels}]: one value for each "
            "colour channel, then one for each feature"
        )


def _check_coefficients(name: str, tensors: dict[str, Tensor]) -> None:
    for field, apart in (("sh", 0), ("sh_rest", 1)):
        if field in tensors and apart + tensors[field].shape[1] not in SH_COUNTS:
            wanted = ", ".join(str(count - apart) for count in SH_COUNTS[:-1])
            raise RasterizerError(
                f"{name}: {field} has {tensors[field].shape[1]} coefficients, expected {wanted} or "
                f"{SH_COUNTS[-1] - apart} (degree 0 to 3)"
            )


def _fits(shape: torch.Size, n: int, row: tuple[int | str, ...]) -> bool:
    if len(shape) != 1 + len(row) or shape[0] != n:
        return False
    return all(have == want or isinstance(want, str) for have, want in zip(shape[1:], row, strict=True))


def _check_kind(name: str, tensors: dict[str, Tensor], first: Tensor) -> None:
    dtype, device = first.dtype, first.device
    for field, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise RasterizerError(f"{name}: {field} is {tensor.dtype}, expected torch.float32 or torch.float64")
        if tensor.dtype != dtype or tensor.device != device:
            raise RasterizerError(
                f"{name}: {field} is {tensor.dtype} on {tensor.device}, but layer 0: means is {dtype} on "
                f"{device}; give every tensor of a call one type and device"
            )
        if tensor.is_meta:
            raise RasterizerError(f"{name}: {field} is a meta tensor, which has no values; load its values first")


def _check_values(name: str, layer: Layer) -> None:
    for field, tensor in _tensors(layer).items():
        _check_finite(name, field, tensor)
    gaussians: Gaussians = layer.gaussians
    if gaussians.count == 0:
        return
    low_scale = float(gaussians.scales.detach().amin())
    if low_scale < 0:
        row = int((gaussians.scales.detach() < 0).any(1).nonzero()[0])
        raise RasterizerError(
            f"{name}: scales goes down to {low_scale:.6g}, first below 0 at row {row}; apply exp first"
        )
    low, high = (float(value) for value in torch.aminmax(gaussians.opacities.detach()))
    if low < -OPACITY_TOLERANCE or high > 1 + OPACITY_TOLERANCE:
        raise RasterizerError(
            f"{name}: opacities span [{low:.6g}, {high:.6g}], expected [0, 1]; apply the sigmoid first"
        )


def _check_finite(name: str, field: str, tensor: Tensor) -> None:
    values = tensor.detach()
    # One sum settles nearly every case; a sum that overflows although its terms are finite goes on to the full test.
    if math.isfinite(float(values.sum())):
        return
    rows = values.isfinite().logical_not().reshape(values.shape[0], -1)
    if not bool(rows.any()):
        return
    first = int(rows.any(1).nonzero()[0])
    raise RasterizerError(
        f"{name}: {field} has {int(rows.sum())} NaN or infinite values, first at row {first}: "
        f"{values[first].flatten()[:4].tolist()}; repair or drop these rows"
    )


def _tensors(layer: Layer | RawLayer) -> dict[str, Tensor]:
    given = layer.gaussians
    if isinstance(given, RawGaussians):
        tensors = {field.name: getattr(given, field.name) for field in fields(given)}
        optional = {"features": layer.features}
    else:
        tensors = {"means": given.means, "scales": given.scales, "quats": given.quats, "opacities": given.opacities}
        optional = {"sh": given.sh, "colours": given.colours, "features": layer.features}
    tensors |= {field: tensor for field, tensor in optional.items() if tensor is not None}
    return {**tensors, "background": layer.background}
