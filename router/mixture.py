"""Gating and blending: several experts' images become one (MoE-GS eq. 8)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """One blended image, and the images, gates and logits it was blended from."""

    image: Tensor  # [3, h, w], not clamped
    images: Tensor  # [E, 3, h, w], the experts' own images
    gates: Tensor  # [E, h, w], sum to 1 over experts
    logits: Tensor  # [E, h, w], before the temperature
    alphas: Tensor | None = None  # [E, h, w], of rendered experts: each one's opacity
    depths: Tensor | None = None  # [E, h, w], on request: sum of z x alpha x transmittance, world units


def blend(images: Tensor, logits: Tensor, *, temperature: float) -> Mixture:
    """Softmax of logits / temperature over the experts, then the gated sum of their images (MoE-GS eq. 8).

    images [E, 3, h, w], logits [E, h, w]; temperature > 0, smaller is harder.
    """
    scaled = logits if temperature == 1 else logits / temperature  # at the default, two passes over memory less
    gates = torch.softmax(scaled, dim=0, dtype=torch.promote_types(logits.dtype, torch.float32))
    image = (gates[:, None] * images).sum(dim=0)
    return Mixture(image=image, images=images, gates=gates, logits=logits)


def shrunk_to_mean(mixture: Mixture, share: float | Tensor) -> Mixture:
    """The mixture whose gates are (1 - share) of its own and `share` of 1 / E each: its image moves to the mean's.

    share: of all pixels, or [h, w].
    """
    gates = (1 - share) * mixture.gates + share / len(mixture.gates)
    return replace(mixture, gates=gates, image=(gates[:, None] * mixture.images).sum(dim=0))
