"""Far splats around a scene: what players show where an expert has no Gaussians.

At views that nobody trained on, the renderer's rules give holes a colour. Players have no rules: their holes are black,
or as light as their page. So files have a sphere of splats behind everything. Where training views look past the
Gaussians, it has the expert's background, since the training said so. Elsewhere it has the rules' colour of holes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, camera_rays, rasterize
from torch import Tensor
from torch.nn.functional import pad

from common.maths.vectors import unit
from common.text.progress import tracked
from engine.checks.probes import shrunk
from engine.evaluation.scoring import evenly_spread
from engine.export.following.bells import SEEN
from engine.export.frames import SH_CONSTANT
from engine.export.pages.rules import page_rules
from engine.export.players.convention import for_players, players_settings
from engine.runs.device import wait
from engine.runs.run import Run
from experts.base import Expert
from experts.canonical.gaussians import CanonicalGaussians, activate
from experts.random_models import raw_tensors
from experts.splats.model import Splats

logger = logging.getLogger(__name__)

COUNT = 2048  # splats; 4.5 degrees lie between two of them
FEWEST = 64  # where a file's own splats limit them: 25 degrees lie between two
FAR = 4.0  # times the distance of the farthest Gaussian or camera from the middle of the cameras
SIZE = 0.8  # standard deviation of a splat, in distances between neighbours: together they are opaque
THIN = 1e-3  # of that, along the line of sight: a file is as fine as its median scale, which is to be the scene's
OPACITY = 0.999
IMAGES = 120  # of training views
WIDTH = 320  # px, of these images
LEAST = 1e-3  # cameras that show a place through nothing at all, and count as much as the colour of holes
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
BLOCK = 1 << 15  # pixels, of which the nearest splats are looked for at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Sphere:
    """Places around a middle, all as far from it and evenly spread (a Fibonacci lattice)."""

    middle: Tensor  # [3]
    radius: float
    directions: Tensor  # [n, 3], unit

    @property
    def spacing(self) -> float:
        """The angle between neighbouring places, radians."""
        return math.sqrt(4 * math.pi / len(self.directions))


@torch.no_grad()
def surroundings(
    run: Run,
    expert: Expert,
    *,
    kept: Tensor,
    most: int = COUNT,
    within: float = math.inf,
    progress: bool = False,
) -> Gaussians | None:
    """At most COUNT splats around an expert, told to the log; None where the run's rules have no colour of holes.

    kept: mask of its rows that are written. most: splats where these are fewer, but FEWEST at least. within: the
    largest coordinate that a file holds, scene units; None where they have no room behind all else.
    """
    own = next((each for each in run.experts if each.name == expert.name), None)  # also of one with Gaussians moved
    hole = page_rules(run, own).hole_colour
    if hole is None:
        return None
    count = min(COUNT, max(FEWEST, most))
    cameras = [run.scene.views[view].camera for view in run.scene.train]
    frames = evenly_spread(run.scene.num_frames, max(1, IMAGES // len(cameras)))
    sphere = _sphere_around(expert, cameras, frames, kept, count=count, within=within)
    if sphere is None:
        logger.warning("%s: the file has no room for far splats around it, so its holes are black", expert.name)
        return None
    evidence = _looked_past(run, expert, sphere, kept=kept, cameras=cameras, frames=frames, progress=progress)
    share = (evidence / (evidence + LEAST))[:, None]  # of the background
    colours = share * share.new_tensor(expert.background[:3]) + (1 - share) * share.new_tensor(hole)
    logger.info("%s: %s far splats around it, in the place of holes", expert.name, f"{count:,}")
    size = SIZE * sphere.spacing * sphere.radius
    return Gaussians(
        means=sphere.middle + sphere.radius * sphere.directions,
        scales=share.new_tensor([size, size, THIN * size]).repeat(count, 1),
        quats=_facing(sphere.directions),
        opacities=share.new_full((count,), OPACITY),
        sh=pad(((colours - 0.5) / SH_CONSTANT)[:, None], (0, 0, 0, 15)),
    )


def _looked_past(
    run: Run,
    expert: Expert,
    sphere: Sphere,
    *,
    kept: Tensor,
    cameras: Sequence[Camera],
    frames: Sequence[int],
    progress: bool,
) -> Tensor:
    """For each place of the sphere, how many training cameras show it, mean over frames: squared transmittance.

    Places count with their neighbours, by a bell as wide as the distance between two.
    """
    small = [shrunk(camera, WIDTH) for camera in cameras]
    rows = [places_of(sphere, camera) for camera in small]
    settings = players_settings(expert.settings)
    evidence = torch.zeros_like(sphere.directions[:, 0])
    for frame in tracked(frames, f"Looking past {expert.name}", unit="frame", shown=progress):
        gaussians = _written(expert, frame, kept, cameras)
        background = evidence.new_zeros(gaussians.colour_channels)
        layer = Layer(gaussians=gaussians, settings=settings, background=background)
        for camera, places in zip(small, rows, strict=True):
            splat = rasterize([layer], camera, backend=run.compute.backend)[0]
            wait(run.compute)
            pixels = sphere.spacing**2 * camera.fx * camera.fy  # of a place, in the middle of an image
            evidence.index_add_(0, places, (1 - splat.alpha).square().flatten() / (pixels * len(frames)))
    angles = (sphere.directions @ sphere.directions.T).clamp(-1, 1).acos()
    bells = (angles / sphere.spacing).square().mul(-0.5).exp()
    return bells @ evidence / bells.sum(dim=1)


def _written(expert: Expert, frame: int, kept: Tensor, cameras: Sequence[Camera]) -> Gaussians:
    """The Gaussians of a frame that are written, as players show them."""
    gaussians = expert.at(frame)
    written = replace(gaussians, opacities=gaussians.opacities * kept[expert.rows(frame)])
    return for_players(written, expert.settings, cameras)


def _sphere_around(
    expert: Expert, cameras: Sequence[Camera], frames: Sequence[int], kept: Tensor, *, count: int, within: float
) -> Sphere | None:
    """A sphere around all cameras and all Gaussians that are written, where they are seen; None where it has no room.

    within: the largest coordinate that it may have.
    """
    centres = torch.stack([camera.centre for camera in cameras]).to(kept.device)
    middle = centres.mean(dim=0)
    farthest = float((centres - middle).norm(dim=1).max())
    for frame in frames:
        gaussians = expert.at(frame)
        shown = kept[expert.rows(frame)] & (gaussians.opacities >= SEEN)  # others may be anywhere
        distances = (gaussians.means - middle).norm(dim=1)[shown]
        farthest = max(farthest, float(distances.amax()) if len(distances) else 0.0)
    radius = min(FAR * (farthest or 1.0), within - float(middle.abs().amax()))
    return Sphere(middle=middle, radius=radius, directions=_directions(count).to(middle)) if radius > farthest else None


def _directions(count: int) -> Tensor:
    """Unit vectors [count, 3], evenly spread: a Fibonacci lattice (Gonzalez, 2010)."""
    number = torch.arange(count, dtype=torch.float64)
    height = 1 - (2 * number + 1) / count
    ring, angle = (1 - height.square()).sqrt(), number * GOLDEN_ANGLE
    return torch.stack([ring * angle.cos(), ring * angle.sin(), height], dim=1)


def _facing(directions: Tensor) -> Tensor:
    """Quaternions wxyz [n, 4] that turn the z axis into unit directions [n, 3], none of them (0, 0, -1)."""
    x, y, z = directions.unbind(1)
    return unit(torch.stack([1 + z, -y, x, torch.zeros_like(z)], dim=1))


def places_of(sphere: Sphere, camera: Camera) -> Tensor:
    """The place [pixels] of a sphere that each pixel of a camera inside of it looks at, row by row."""
    middle = sphere.middle
    rays = camera_rays(camera, dtype=middle.dtype, device=middle.device)[3:].flatten(1).T
    start = camera.centre.to(middle) - middle
    along = rays @ start
    distances = (along.square() - start @ start + sphere.radius**2).sqrt() - along
    places = unit(start + distances[:, None] * rays)
    return torch.cat([(each @ sphere.directions.T).argmax(dim=1) for each in places.split(BLOCK)])


def splats_with(splats: Splats, around: Gaussians) -> Splats:
    """Splats, and around them others that stay where they are through the whole clip."""
    count, frames = around.count, splats.num_frames
    joined = gaussians_with(activate(splats.gaussians.raw()), around)
    still = splats.times.new_zeros(count)
    return Splats(
        gaussians=CanonicalGaussians(**raw_tensors(joined)),
        times=torch.cat([splats.times, still]),
        widths=torch.cat([splats.widths, still + torch.inf]),
        velocities=torch.cat([splats.velocities.detach(), still[:, None].expand(count, 3)]),
        windows=torch.cat([splats.windows, splats.windows.new_tensor([0, frames]).expand(count, 2)]),
        num_frames=frames,
        settings=splats.settings,
        background=splats.background,
    )


def surroundings_facts(around: Gaussians | None) -> dict[str, int]:
    """The count of the splats around, as a file tells it; nothing where there are none."""
    return {} if around is None else {"surroundings": around.count}


def gaussians_with(gaussians: Gaussians, around: Gaussians) -> Gaussians:
    """Gaussians of a frame with spherical harmonics of degree 3, and others around them."""
    assert gaussians.sh is not None and around.sh is not None
    return Gaussians(
        means=torch.cat([gaussians.means, around.means.to(gaussians.means)]),
        scales=torch.cat([gaussians.scales, around.scales.to(gaussians.scales)]),
        quats=torch.cat([gaussians.quats, around.quats.to(gaussians.quats)]),
        opacities=torch.cat([gaussians.opacities, around.opacities.to(gaussians.opacities)]),
        sh=torch.cat([gaussians.sh, around.sh.to(gaussians.sh)]),
    )
