"""Golden images of the original rasterizers as inputs of ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings

LIBRARIES = ("inria", "df", "ch3", "ch9")
KINDS = ("plain", "rawquat", "offcenter", "extreme", "opaque", "behind")
NAMES = [f"{library}_{kind}" for library in LIBRARIES for kind in KINDS]


@dataclass(frozen=True)
class Golden:
    """One file: the layer and camera that made it, and what the original kernels returned."""

    library: str
    layer: Layer
    camera: Camera
    arrays: dict[str, np.ndarray]

    def tensor(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])


def read_golden(folder: Path, name: str, dtype: torch.dtype) -> Golden:
    with np.load(folder / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    convention = json.loads(arrays["convention"].tobytes())
    library = convention["lib"]

    def given(key: str) -> torch.Tensor:
        return torch.tensor(arrays[key], dtype=dtype)

    uses_sh = library in ("inria", "df")
    gaussians = Gaussians(
        means=given("in_means"),
        scales=given("in_scales"),
        quats=given("in_quats"),
        opacities=given("in_opacities")[:, 0],
        sh=given("in_sh") if uses_sh else None,
        colours=None if uses_sh else given("in_feat")[:, : len(convention["bg"])],
    )
    if library == "df":
        settings = RasterSettings(
            low_pass=convention["kernel"],
            compensate=True,
            near=convention["near"],
            far=convention["far"],
            ndc_limit=1.3,
            tile_rule="inria",
            depth="mean",
        )
    else:
        settings = RasterSettings(tile_rule="inria", depth="median")
    width, height = (int(size) for size in arrays["in_size"])
    k = arrays["in_K"]
    camera = Camera(
        world_to_camera=torch.from_numpy(arrays["in_w2c"]),
        fx=float(k[0, 0]),
        fy=float(k[1, 1]),
        cx=float(k[0, 2]),
        cy=float(k[1, 2]),
        width=width,
        height=height,
    )
    background = torch.tensor(convention["bg"], dtype=dtype)
    return Golden(library, Layer(gaussians=gaussians, settings=settings, background=background), camera, arrays)
