"""The splats of a page as arrays: packed for engine/player/data.js, and read again."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from moegs_rasterizer import RasterSettings
from torch import Tensor

from experts.canonical.gaussians import CanonicalGaussians
from experts.splats.model import Splats
from experts.splats.sh_bytes import UNIT, HarmonicBytes, harmonic_bytes

MANTISSA = 15  # bits that are kept of a float's 23: the others would only make the page larger
COLOUR = 1024  # steps of a coefficient of degree 0 in a unit
QUAT = 1023
CURVE_BITS = 10  # of a coordinate, on the curve along which splats are ordered


@dataclass(frozen=True, slots=True, kw_only=True)
class PageExpert:
    """An expert of a page."""

    name: str
    splats: Splats
    routing: Tensor  # [n, 3] the router's weights: base, directional, temporal


def packed(
    experts: Sequence[PageExpert], *, cameras: Sequence[Tensor], steps: tuple[int, int, int]
) -> tuple[str, dict[str, Any]]:
    """The text of all splats, and what a reader needs to know of it. cameras, steps: as `harmonic_bytes` takes them."""
    coded = [_harmonics(each.splats, cameras, steps) for each in experts]
    degree = max(each.degree for each in coded)
    if any(each.degree != degree for each in coded):  # one width for all: those of a lower degree get the same
        coded = [_harmonics(each.splats, cameras, steps, degree=degree) for each in experts]
    logs = [_numpy(each.splats.gaussians.log_scales) for each in experts]
    low, high = min(float(each.min()) for each in logs), max(float(each.max()) for each in logs) + 1e-6
    columns = [_columns(each, code, low, high) for each, code in zip(experts, coded, strict=True)]
    table: list[dict[str, Any]] = []
    body = bytearray()
    for name, (kind, _) in columns[0].items():
        values = np.concatenate([each[name][1].astype(f"<{kind}") for each in columns])
        table.append({"name": name, "type": kind, "length": int(values.size)})
        body += _planes(values)
    facts = {
        "count": sum(each.splats.num_gaussians for each in experts),
        "degree": degree,
        "harmonics": coded[0].codes.shape[1],
        "ranges": {"scales": [low, high], "colour": COLOUR},
        "arrays": table,
        "experts": [_facts(each) for each in experts],
    }
    return base64.b64encode(zlib.compress(bytes(body), 6)).decode("ascii"), facts


def unpacked(text: str, facts: Mapping[str, Any]) -> list[PageExpert]:
    """The experts that `packed` wrote. facts: of the page."""
    body, start = zlib.decompress(base64.b64decode(text)), 0
    arrays: dict[str, Tensor] = {}
    for row in facts["arrays"]:
        kind = np.dtype(f"<{row['type']}")
        size = row["length"] * kind.itemsize
        planes = np.frombuffer(body[start : start + size], np.uint8).reshape(kind.itemsize, row["length"])
        values = np.ascontiguousarray(planes.T).view(kind).reshape(facts["count"], -1)
        arrays[row["name"]] = torch.from_numpy(values.astype(np.float32))
        start += size
    counts = [expert["count"] for expert in facts["experts"]]
    parts = [
        dict(zip(arrays, each, strict=True)) for each in zip(*(a.split(counts) for a in arrays.values()), strict=True)
    ]
    return [_expert(known, part, facts) for known, part in zip(facts["experts"], parts, strict=True)]


def _columns(expert: PageExpert, coded: HarmonicBytes, low: float, high: float) -> dict[str, tuple[str, np.ndarray]]:
    """By name, the type and the values of an expert's arrays, in an order in which neighbours resemble each other."""
    splats, given = expert.splats, expert.splats.gaussians
    windows = _numpy(splats.windows)
    columns: dict[str, tuple[str, np.ndarray]] = {
        "places": ("f4", _kept(_numpy(given.means))),
        "velocities": ("f2", _numpy(splats.velocities)),
        "times": ("f4", _kept(_numpy(splats.times))),
        "widths": ("f2", _numpy(splats.widths)),
        "first": ("u2", np.ceil(windows[:, 0]).clip(0)),
        "last": ("u2", np.ceil(windows[:, 1] - 1).clip(0)),
        "quats": ("i2", np.rint(_numpy(given.quats) * QUAT)),
        "scales": ("u1", np.rint((_numpy(given.log_scales) - low) / (high - low) * 255)),
        "opacities": ("u1", np.rint(_numpy(given.opacity_logits.sigmoid()) * 255)),
        "colours": ("i2", np.rint(_numpy(coded.dc) * COLOUR).clip(-32767, 32767)),
        "routing": ("f2", _numpy(expert.routing)),
        "harmonics": ("u1", _numpy(coded.codes)),
    }
    order = _along_curve(_numpy(given.means))
    return {name: (kind, values[order]) for name, (kind, values) in columns.items()}


def _harmonics(
    splats: Splats, cameras: Sequence[Tensor], steps: tuple[int, int, int], degree: int = 0
) -> HarmonicBytes:
    sh = torch.cat([splats.gaussians.sh_dc, splats.gaussians.sh_rest], dim=1).detach()
    return harmonic_bytes(sh, splats.gaussians.means.detach(), cameras=cameras, steps=steps, least=degree)


def _facts(expert: PageExpert) -> dict[str, Any]:
    splats = expert.splats
    return {
        "name": expert.name,
        "count": splats.num_gaussians,
        "background": list(splats.background),
        "raster": asdict(splats.settings),
    }


def _expert(known: Mapping[str, Any], arrays: Mapping[str, Tensor], facts: Mapping[str, Any]) -> PageExpert:
    """One expert of a page, its splats in the order that `Splats` gives them."""
    order = arrays["first"][:, 0].argsort(stable=True)
    ordered = {name: values[order] for name, values in arrays.items()}
    low, high = facts["ranges"]["scales"]
    rest = torch.zeros(known["count"], 15, 3)
    if facts["degree"]:
        codes = (ordered["harmonics"] - 127.5) * UNIT
        rest[:, : codes.shape[1] // 3] = codes.unflatten(1, (3, -1)).transpose(1, 2)
    splats = Splats(
        gaussians=CanonicalGaussians(
            means=ordered["places"],
            log_scales=low + (high - low) * ordered["scales"] / 255,
            quats=ordered["quats"],
            opacity_logits=(ordered["opacities"][:, 0] / 255).clamp(1e-6, 1 - 1e-6).logit(),
            sh_dc=(ordered["colours"] / facts["ranges"]["colour"])[:, None],
            sh_rest=rest,
        ),
        times=ordered["times"][:, 0],
        widths=ordered["widths"][:, 0],
        velocities=ordered["velocities"],
        windows=torch.cat([ordered["first"] - 0.5, ordered["last"] + 0.5], dim=1),
        num_frames=facts["frames"],
        settings=RasterSettings(**known["raster"]),
        background=known["background"],
    )
    return PageExpert(name=known["name"], splats=splats, routing=ordered["routing"])


def _along_curve(means: np.ndarray) -> np.ndarray:
    """The order [n] of means [n, 3] along a curve through space (Morton 1966)."""
    low = np.percentile(means, 1, axis=0)
    span = np.maximum(np.percentile(means, 99, axis=0) - low, 1e-9)
    cells = (((means - low) / span).clip(0, 1) * (2**CURVE_BITS - 1)).astype(np.int64)
    code = np.zeros(len(means), np.int64)
    for bit in range(CURVE_BITS):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code.argsort(kind="stable")


def _kept(values: np.ndarray) -> np.ndarray:
    """Floats rounded to MANTISSA bits."""
    drop = 23 - MANTISSA
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + (1 << (drop - 1))) >> drop << drop).view(np.float32)


def _planes(values: np.ndarray) -> bytes:
    """The bytes of values, all lowest ones first: those of one kind resemble each other."""
    flat = np.ascontiguousarray(values).reshape(-1, 1).view(np.uint8).reshape(values.size, values.itemsize)
    return np.ascontiguousarray(flat.T).tobytes()


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
