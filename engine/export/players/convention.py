"""Splats in the convention of players, which is 3DGS's, whatever convention an expert was trained under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings
from torch import Tensor

from experts.base import Expert
from experts.canonical.gaussians import CanonicalGaussians, activate
from experts.random_models import raw_tensors
from experts.splats.model import Splats

PLAYERS = RasterSettings()
SMALLEST = 0.2  # px^2 of a splat's variance along an axis
DAMPING = 0.5  # of harmonics of degree 2 and 3, which files for new views keep: docs/dev/export.md, Harmonics
FIRST_DAMPED = 4  # coefficient: after degrees 0 and 1


def made_for_players(expert: Expert) -> bool:
    """True for an expert that comes from a file of splats: whoever made it made it as players are to show it."""
    return isinstance(expert, Splats)


def splats_for_players(splats: Splats, cameras: Sequence[Camera], *, damping: float) -> Splats:
    """Splats that look by 3DGS's rules as the given ones do by their own, see `for_players`, but `damped`."""
    given = splats.gaussians
    changed = for_players(damped(activate(given.raw()), damping), splats.settings, cameras)
    return Splats(
        gaussians=CanonicalGaussians(**raw_tensors(changed)),
        times=splats.times,
        widths=splats.widths,
        velocities=splats.velocities.detach(),
        windows=splats.windows,
        num_frames=splats.num_frames,
        settings=players_settings(splats.settings),
        background=splats.background,
    )


def damped(gaussians: Gaussians, share: float = DAMPING) -> Gaussians:
    """Gaussians with a share of their harmonics of degree 2 and 3.

    Training cameras tell colours for their own directions. Between these, high degrees swing.
    """
    assert gaussians.sh is not None
    shares = gaussians.sh.new_ones(gaussians.sh.shape[1], 1)
    shares[FIRST_DAMPED:] = share
    return replace(gaussians, sh=gaussians.sh * shares)


def players_settings(settings: RasterSettings) -> RasterSettings:
    """3DGS's rules with the near plane of others, where that is farther away."""
    return replace(PLAYERS, near=max(PLAYERS.near, settings.near))


def for_players(gaussians: Gaussians, settings: RasterSettings, cameras: Sequence[Camera]) -> Gaussians:
    """Gaussians that look by 3DGS's rules as the given ones do by an expert's, seen from the training cameras.

    The rules differ in the low-pass, which is added to the variance on the screen, and in Ex4DGS's compensation, which
    makes a splat fainter by as much as the low-pass made it larger. Here the scales become smaller by the difference
    of the low-passes, and the opacity has the compensation. Where a scale cannot be smaller, the opacity makes up for
    it: opacity x area stays the same. Pixels are those of the cameras on average. Far planes and Ex4DGS's limit of
    centres to 1.3 of the picture depend on the view, and are not made up for.
    """
    if settings.low_pass == PLAYERS.low_pass and not settings.compensate:
        return gaussians
    pixel = pixel_sizes(gaussians.means, cameras)[:, None]
    own = (gaussians.scales / pixel).square()
    wanted = own + settings.low_pass
    found = (wanted - PLAYERS.low_pass).clamp(min=torch.minimum(own, own.new_tensor(SMALLEST)))
    before = own if settings.compensate else wanted
    area = _two_largest(before) / _two_largest(found + PLAYERS.low_pass)
    return Gaussians(
        means=gaussians.means,
        scales=found.sqrt() * pixel,
        quats=gaussians.quats,
        opacities=(gaussians.opacities * area.sqrt()).clamp(max=1),
        sh=gaussians.sh,
        colours=gaussians.colours,
    )


def pixel_sizes(means: Tensor, cameras: Sequence[Camera]) -> Tensor:
    """The size [n] of a pixel at means [n, 3]: the geometric mean over the cameras that have them before them."""
    total, count = torch.zeros_like(means[:, 0]), torch.zeros_like(means[:, 0])
    for camera in cameras:
        row = camera.world_to_camera[2].to(means)
        depths = means @ row[:3] + row[3]
        before = depths > 0
        total += torch.where(before, depths.clamp(min=1e-6).log() - torch.tensor(camera.fx).log(), 0)
        count += before
    return (total / count.clamp(min=1)).exp()


def _two_largest(variances: Tensor) -> Tensor:
    """The product [n] of the two largest of three values [n, 3]: a splat shows about two of its axes."""
    return variances.prod(dim=1) / variances.amin(dim=1)
