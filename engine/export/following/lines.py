"""Any expert as splats on straight lines: each Gaussian is followed through the clip, and cut where a line ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common.maths.vectors import unit
from common.text.progress import tracked
from engine.errors import ConfigError
from engine.export.following.bells import SEEN, Bells, opacity_bells
from engine.export.following.steady import steady
from engine.export.frames import SH_CONSTANT, Frame, FrameReader
from experts.base import Expert
from experts.canonical.gaussians import CanonicalGaussians
from experts.splats.model import Splats, bell

MOST_OPAQUE = 1 - 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The most by which a splat may differ from the expert's Gaussian at a frame."""

    place: float  # along an axis, in units of the Gaussian's size (the cube root of its volume)
    pixels: float  # along an axis, in pixels of the training camera that is nearest; the larger one of the two counts
    quat: float
    log_scale: float
    opacity: float
    colour: float  # of a channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """An expert's splats, and the row of its routing table that each is a piece of."""

    splats: Splats
    rows: Tensor  # [n]


@torch.no_grad()
def as_splats(
    expert: Expert,
    cameras: Sequence[Camera],
    *,
    num_frames: int,
    tolerance: Tolerance,
    kept: Tensor | None = None,
    progress: bool = False,
) -> Followed:
    """An expert's Gaussians at all frames as splats; those that no frame shows are left out.

    cameras: of the training, which tell the size of a pixel at a Gaussian. kept: mask of the rows that are wanted,
    None: all. Raises ConfigError for an expert whose colours are not spherical harmonics, and where nothing is left.
    """
    bells = opacity_bells(expert, num_frames)
    reader = FrameReader(expert, kept=kept)
    follower = Follower(bells, cameras, tolerance)
    for number in tracked(range(num_frames), f"Following {expert.name}", unit="frame", shown=progress):
        follower.add(number, reader.at(number))
    return follower.splats(num_frames=num_frames, like=expert)


class Follower:
    """The pieces of all Gaussians: of each an open one, which goes on as long as a line and constants describe it.

    A line begins at the place of a piece's first frame. Every frame allows it a range of slopes; a frame that leaves no
    slope begins another piece (the swinging door, Bristol 1990). Other values have a range, too: it may be as wide as
    twice the tolerance. They stay from piece to piece while the ranges overlap (`steady`).
    """

    def __init__(self, bells: Bells, cameras: Sequence[Camera], tolerance: Tolerance) -> None:
        self.bells, self.tolerance = bells, tolerance
        self.cameras = [(each.world_to_camera[2], max(each.fx, each.fy)) for each in cameras]
        count = len(bells.times)
        device = bells.times.device
        self.first = torch.full((count,), -1, device=device)  # of the open piece; -1: none is open
        self.last = torch.full((count,), -1, device=device)
        shapes = {"place": (3,), "reach": (), "low": (VALUES,), "high": (VALUES,)}
        self.open = {name: torch.zeros(count, *shape, device=device) for name, shape in shapes.items()}
        self.slopes = torch.zeros(2, count, 3, device=device)
        self.closed: list[dict[str, Tensor]] = []
        limits = [tolerance.quat] * 4 + [tolerance.log_scale] * 3 + [tolerance.opacity]
        colours = [tolerance.colour / SH_CONSTANT] * 48
        self.limits = torch.tensor([*limits, *colours], device=device)

    def add(self, number: int, frame: Frame) -> None:
        """Continues, closes and opens pieces by the next frame."""
        seen = frame.opacities >= SEEN
        shares = bell(number - self.bells.times, self.bells.widths)
        faded = shares.clamp(min=1e-3)
        values = torch.cat(
            [frame.quats, frame.log_scales, (frame.opacities / faded)[:, None], frame.sh.flatten(1)], dim=1
        )
        opened = self.first >= 0
        turned = (values[:, :4] * (self.open["low"][:, :4] + self.open["high"][:, :4])).sum(dim=1) < 0
        values[:, :4] = torch.where((turned & opened)[:, None], -values[:, :4], values[:, :4])
        reach = torch.where(opened, self.open["reach"], self._reach(frame))
        slack = self.limits.expand(len(seen), -1).clone()
        slack[:, :4] = self._turn(frame, reach)
        slack[:, 7] = self.tolerance.opacity / faded
        low = torch.maximum(self.open["low"], values - slack)
        high = torch.minimum(self.open["high"], values + slack)
        steps = (number - self.first).clamp(min=1)[:, None]
        moved = frame.means - self.open["place"]
        slowest = torch.maximum(self.slopes[0], (moved - reach[:, None]) / steps)
        fastest = torch.minimum(self.slopes[1], (moved + reach[:, None]) / steps)
        goes_on = seen & opened & (low <= high).all(dim=1) & (slowest <= fastest).all(dim=1)
        self._close(opened & ~goes_on)
        begins = seen & ~goes_on
        kept, fresh = goes_on[:, None], begins[:, None]
        self.open["low"] = torch.where(kept, low, torch.where(fresh, values - slack, self.open["low"]))
        self.open["high"] = torch.where(kept, high, torch.where(fresh, values + slack, self.open["high"]))
        self.slopes = torch.where(
            kept, torch.stack([slowest, fastest]), torch.where(fresh, _ANY_SLOPE.to(moved), self.slopes)
        )
        self.open["place"] = torch.where(fresh, frame.means, self.open["place"])
        self.open["reach"] = torch.where(begins, self._reach(frame), self.open["reach"])
        self.first = torch.where(begins, number, torch.where(goes_on, self.first, -1))
        self.last = torch.where(seen, number, self.last)

    def _reach(self, frame: Frame) -> Tensor:
        """The most that a splat may be from its Gaussian along an axis [n], scene units."""
        sizes = frame.log_scales.mean(dim=1).exp()
        pixel = torch.full_like(sizes, torch.inf)
        for axis, focal in self.cameras:
            axis = axis.to(frame.means)
            depths = frame.means @ axis[:3] + axis[3]
            pixel = torch.minimum(pixel, torch.where(depths > 0, depths / focal, torch.inf))
        pixel = torch.where(pixel.isfinite(), pixel, 0)
        return torch.maximum(self.tolerance.place * sizes, self.tolerance.pixels * pixel)

    def _turn(self, frame: Frame, reach: Tensor) -> Tensor:
        """The most by which a quaternion may be off [n, 1]: its turn moves no point of the ellipsoid beyond `reach`.

        A quaternion that is off by d turns by 2 d, and moves points by that times the difference of two scales at most.
        """
        scales = frame.log_scales.exp()
        longer = (scales.amax(dim=1) - scales.amin(dim=1)).clamp(min=1e-12)
        return (reach / (2 * longer)).clamp(self.tolerance.quat, 1)[:, None]

    def _close(self, ends: Tensor) -> None:
        """Keeps the open pieces of some rows [n] as they are."""
        rows = torch.nonzero(ends)[:, 0]
        if len(rows) == 0:
            return
        piece = {name: values[rows] for name, values in self.open.items()}
        slopes = self.slopes[:, rows]
        piece["velocity"] = torch.where(slopes[0].isfinite(), slopes.mean(dim=0), 0)
        piece |= {"row": rows, "first": self.first[rows], "last": self.last[rows]}
        self.closed.append(piece)

    def splats(self, *, num_frames: int, like: Expert) -> Followed:
        """The splats of all pieces, splatted as the expert is; in the order of their first frames."""
        self._close(self.first >= 0)
        if not self.closed:
            raise ConfigError(f"{like.name}: no Gaussian of it is seen in any frame, so there is nothing to write")
        joined = {name: torch.cat([each[name] for each in self.closed]) for name in self.closed[0]}
        order = joined["first"].argsort(stable=True)
        joined = {name: values[order] for name, values in joined.items()}
        values = steady(joined["low"], joined["high"], joined["row"], groups=GROUPS)
        times, widths = self.bells.times[joined["row"]], self.bells.widths[joined["row"]]
        middles = (joined["first"] + joined["last"]) / 2
        times = torch.where(widths.isfinite(), times, middles)
        means = joined["place"] + (times - joined["first"])[:, None] * joined["velocity"]
        sh = values[:, 8:].unflatten(1, (16, 3))
        splats = Splats(
            gaussians=CanonicalGaussians(
                means=means,
                log_scales=values[:, 4:7],
                quats=unit(values[:, :4]),
                opacity_logits=values[:, 7].clamp(1e-6, MOST_OPAQUE).logit(),
                sh_dc=sh[:, :1].contiguous(),
                sh_rest=sh[:, 1:].contiguous(),
            ),
            times=times,
            widths=widths,
            velocities=joined["velocity"],
            windows=torch.stack([joined["first"] - 0.5, joined["last"] + 0.5], dim=1),
            num_frames=num_frames,
            settings=like.settings,
            background=like.background if len(like.background) == 3 else (0.0, 0.0, 0.0),
        )
        return Followed(splats=splats, rows=joined["row"])


GROUPS = (4, 3, 1, 3, 45)  # quaternion, log scales, opacity over the bell, SH of degree 0 and of the others
VALUES = sum(GROUPS)
_ANY_SLOPE = torch.tensor([-torch.inf, torch.inf])[:, None, None]
