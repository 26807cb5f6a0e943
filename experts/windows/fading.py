"""Images and splats of an expert from those of its parts at a frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from moegs_rasterizer import Splat
from torch import Tensor

from experts.windows.model import Part


def joined_images(parts: Sequence[Sequence[Part]], images: Sequence[Tensor]) -> list[Tensor]:
    """The image [3, h, w] of each expert: those of its parts by their shares. images: of all parts, in order."""
    rest = iter(images)
    return [_faded(own, [next(rest) for _ in own]) for own in parts]


def joined_splats(parts: Sequence[Sequence[Part]], splats: Sequence[Splat | None]) -> list[Splat | None]:
    """The splat of each expert: all that is carried to pixels by the parts' shares, Gaussians one after the other.

    Also features: so an expert has one logit a pixel, and both windows learn theirs. None for an expert of pictures.
    """
    rest = iter(splats)
    return [_joined(own, [next(rest) for _ in own]) for own in parts]


def _joined(parts: Sequence[Part], found: Sequence[Splat | None]) -> Splat | None:
    splats = [splat for splat in found if splat is not None]
    if len(splats) < 2:
        return found[0]
    features = [splat.features for splat in splats if splat.features is not None]
    return Splat(
        colour=_faded(parts, [splat.colour for splat in splats]),
        features=_faded(parts, features) if features else None,
        alpha=_faded(parts, [splat.alpha for splat in splats]),
        depth=_faded(parts, [splat.depth for splat in splats]),
        radii=torch.cat([splat.radii for splat in splats]),
        means2d=torch.cat([splat.means2d for splat in splats]),
    )


def _faded(parts: Sequence[Part], values: Sequence[Tensor]) -> Tensor:
    if len(parts) == 1:
        return values[0]
    first, second = values
    return torch.lerp(first, second, parts[1].share)
