"""Binary glTF files of one frame, extension KHR_gaussian_splatting, as splat-transform writes them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from moegs_rasterizer import Gaussians
from torch import Tensor

from common.disk.faults import reading
from experts.base import CheckpointError

OURS = "KHR_gaussian_splatting:"
_HEADER, _CHUNK = struct.Struct("<4s2I"), struct.Struct("<2I")
_FLOAT = 5126  # the component type of float32
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def read_glb(path: Path) -> Gaussians:
    """Reads the Gaussians of the first mesh, in glTF's axes. Raises CheckpointError for other files.

    Scales and opacities are plain numbers there, not logarithms or logits; quaternions are xyzw.
    """
    with reading(path, "not a readable GLB file of Gaussians", CheckpointError, advice="write it again"):
        facts, body = _chunks(path.read_bytes())
        places = facts["meshes"][0]["primitives"][0]["attributes"]

        def values(name: str) -> Tensor:
            return torch.from_numpy(_values(facts, body, places[name]))

        last = max(degree for degree in range(4) if _coefficient(degree, 0) in places)
        names = [_coefficient(degree, number) for degree in range(last + 1) for number in range(2 * degree + 1)]
        return Gaussians(
            means=values("POSITION"),
            scales=values(f"{OURS}SCALE"),
            quats=values(f"{OURS}ROTATION")[:, [3, 0, 1, 2]],
            opacities=values(f"{OURS}OPACITY")[:, 0],
            sh=torch.stack([values(name) for name in names], dim=1),
        )


def _coefficient(degree: int, number: int) -> str:
    return f"{OURS}SH_DEGREE_{degree}_COEF_{number}"


def _chunks(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the numbers of a file."""
    magic, version, _ = _HEADER.unpack_from(content)
    if (magic, version) != (b"glTF", 2):
        raise ValueError("no glTF 2.0 in it")
    length, _ = _CHUNK.unpack_from(content, _HEADER.size)
    start = _HEADER.size + _CHUNK.size
    facts = json.loads(content[start : start + length])
    return facts, content[start + length + _CHUNK.size :]


def _values(facts: dict[str, Any], body: bytes, number: int) -> np.ndarray:
    """The float32 values [n, k] of an accessor."""
    accessor = facts["accessors"][number]
    view = facts["bufferViews"][accessor["bufferView"]]
    if accessor["componentType"] != _FLOAT or "byteStride" in view or "sparse" in accessor:
        raise ValueError(f"accessor {number} is no plain table of float32")
    width, start = _WIDTHS[accessor["type"]], view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    return np.frombuffer(body, "<f4", accessor["count"] * width, start).reshape(-1, width).copy()
