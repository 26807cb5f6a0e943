"""The splats of a page as arrays: packed for engine/player/data.js, and read again."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor

from engine.export.fused import gated
from engine.export.lines import Followed
from experts.base import Provenance
from experts.canonical.gaussians import CanonicalGaussians
from experts.splats.model import Splats
from experts.splats.sh_bytes import UNIT, harmonic_bytes

MANTISSA = 15  # bits that are kept of a place's 23: the others would only make the page larger
COLOUR = 1024  # steps of a coefficient of degree 0 in a unit
QUAT = 1023


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSplats:
    """Splats of one or more experts, with their mean gates."""

    splats: Splats
    experts: Tensor  # [n] number of the expert
    gates: Tensor  # [n]


def page_of(followed: Sequence[Followed], gates: Sequence[Tensor]) -> PageSplats:
    """The splats of several experts together, splatted as players do. gates: by expert, of its routing table's rows."""
    parts = [each.splats.cpu() for each in followed]
    windows = torch.cat([each.windows for each in parts])
    order = windows[:, 0].argsort(stable=True)

    def joined(values: Sequence[Tensor]) -> Tensor:
        return torch.cat([each.detach().cpu() for each in values])[order]

    names = [name for name, _ in parts[0].gaussians.named_parameters()]
    splats = Splats(
        gaussians=CanonicalGaussians(
            **{name: joined([getattr(each.gaussians, name) for each in parts]) for name in names}
        ),
        times=joined([each.times for each in parts]),
        widths=joined([each.widths for each in parts]),
        velocities=joined([each.velocities for each in parts]),
        windows=windows[order],
        num_frames=parts[0].num_frames,
        settings=RasterSettings(near=min(each.settings.near for each in parts)),
        background=parts[0].background,
    )
    numbers = [torch.full((each.num_gaussians,), float(number)) for number, each in enumerate(parts)]
    own = [gate.cpu()[each.rows.cpu()] for gate, each in zip(gates, followed, strict=True)]
    return PageSplats(splats=splats, experts=joined(numbers), gates=joined(own))


def packed(
    page: PageSplats, *, cameras: Sequence[Tensor], steps: tuple[int, int, int]
) -> tuple[str, dict[str, object]]:
    """The text of the splats, and what a reader needs to know of it. cameras, steps: as `harmonic_bytes` takes them."""
    splats = page.splats
    given = splats.gaussians
    sh = torch.cat([given.sh_dc, given.sh_rest], dim=1).detach()
    coded = harmonic_bytes(sh, given.means.detach(), cameras=cameras, steps=steps)
    logs = _numpy(given.log_scales)
    low, high = float(logs.min()), float(logs.max() + 1e-6)
    windows = _numpy(splats.windows)
    order = _near_each_other(page)
    arrays: dict[str, tuple[str, np.ndarray]] = {
        "places": ("f4", _kept(_numpy(given.means))),
        "velocities": ("f2", _numpy(splats.velocities)),
        "times": ("f4", _kept(_numpy(splats.times))),
        "widths": ("f2", _numpy(splats.widths)),
        "first": ("u2", np.ceil(windows[:, 0]).clip(0)),
        "last": ("u2", np.ceil(windows[:, 1] - 1).clip(0)),
        "quats": ("i2", np.rint(_numpy(given.quats) * QUAT)),
        "scales": ("u1", np.rint((logs - low) / (high - low) * 255)),
        "opacities": ("u1", np.rint(_numpy(given.opacity_logits.sigmoid()) * 255)),
        "colours": ("i2", np.rint(_numpy(coded.dc) * COLOUR).clip(-32767, 32767)),
        "experts": ("u1", _numpy(page.experts)),
        "gates": ("u1", np.rint(_numpy(page.gates) * 255)),
        "harmonics": ("u1", _numpy(coded.codes)),
    }
    body = b"".join(_planes(values[order].astype(f"<{kind}")) for kind, values in arrays.values())
    table = [{"name": name, "type": kind, "length": int(values.size)} for name, (kind, values) in arrays.items()]
    facts: dict[str, object] = {
        "count": len(order),
        "degree": coded.degree,
        "harmonics": coded.codes.shape[1],
        "ranges": {"scales": [low, high], "colour": COLOUR},
        "arrays": table,
    }
    return base64.b64encode(zlib.compress(body, 9)).decode("ascii"), facts


def unpacked(text: str, facts: dict[str, Any]) -> PageSplats:
    """The splats that `packed` wrote. facts: of the page."""
    body, start = zlib.decompress(base64.b64decode(text)), 0
    arrays: dict[str, Tensor] = {}
    for row in facts["arrays"]:
        kind = np.dtype(f"<{row['type']}")
        size = row["length"] * kind.itemsize
        planes = np.frombuffer(body[start : start + size], np.uint8).reshape(kind.itemsize, row["length"])
        values = np.ascontiguousarray(planes.T).view(kind).reshape(facts["count"], -1)
        arrays[row["name"]] = torch.from_numpy(values.astype(np.float32))
        start += size
    low, high = facts["ranges"]["scales"]
    rest = torch.zeros(facts["count"], 15, 3)
    if facts["degree"]:
        codes = (arrays["harmonics"] - 127.5) * UNIT
        rest[:, : codes.shape[1] // 3] = codes.unflatten(1, (3, -1)).transpose(1, 2)
    windows = torch.cat([arrays["first"] - 0.5, arrays["last"] + 0.5], dim=1)
    order = windows[:, 0].argsort(stable=True)
    splats = Splats(
        gaussians=CanonicalGaussians(
            means=arrays["places"],
            log_scales=low + (high - low) * arrays["scales"] / 255,
            quats=arrays["quats"],
            opacity_logits=(arrays["opacities"][:, 0] / 255).clamp(1e-6, 1 - 1e-6).logit(),
            sh_dc=(arrays["colours"] / facts["ranges"]["colour"])[:, None],
            sh_rest=rest,
        ),
        times=arrays["times"][:, 0],
        widths=arrays["widths"][:, 0],
        velocities=arrays["velocities"],
        windows=windows,
        num_frames=facts["frames"],
        settings=RasterSettings(near=facts["near"]),
        background=facts["background"],
    )
    return PageSplats(splats=splats, experts=arrays["experts"][order, 0], gates=arrays["gates"][order, 0] / 255)


class Shown:
    """The splats of a page as the player shows them: fused, or an expert of them alone."""

    name = "page"

    def __init__(self, page: PageSplats, *, expert: int | None = None) -> None:
        """expert: its number; None: all of them."""
        self.page, self.expert = page, expert
        self.settings, self.background = page.splats.settings, page.splats.background
        self.provenance = Provenance(files=(), iteration=0)
        self.alone = expert is not None or len(page.experts.unique()) == 1

    def to(self, device: torch.device) -> Shown:
        """The same on a device."""
        page = self.page
        moved = PageSplats(
            splats=page.splats.to(device), experts=page.experts.to(device), gates=page.gates.to(device)
        )
        return Shown(moved, expert=self.expert)

    @property
    def num_gaussians(self) -> int:
        """Splats of all experts."""
        return self.page.splats.num_gaussians

    def rows(self, frame: float) -> slice:
        """The rows that the frame shows."""
        return self.page.splats.rows(frame)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """The Gaussians at a frame; those of experts that are off have opacity 0."""
        rows, gaussians = self.rows(frame), self.page.splats.at(frame)
        opacities = gaussians.opacities if self.alone else gated(gaussians.opacities, self.page.gates[rows])
        if self.expert is not None:
            opacities = opacities * (self.page.experts[rows] == self.expert)
        return replace(gaussians, opacities=opacities)

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """The splatted colour as it is."""
        return splat.colour


def _near_each_other(page: PageSplats) -> np.ndarray:
    """An order [n] in which neighbours resemble each other: by expert, then along a curve through space."""
    means = _numpy(page.splats.gaussians.means)
    low = np.percentile(means, 1, axis=0)
    span = np.maximum(np.percentile(means, 99, axis=0) - low, 1e-9)
    cells = ((means - low) / span).clip(0, 1) * 1023
    code = np.zeros(len(means), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis].astype(np.int64) >> bit) & 1) << (3 * bit + axis)
    return np.lexsort((code, _numpy(page.experts)))


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
