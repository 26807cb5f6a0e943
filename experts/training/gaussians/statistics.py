"""Statistics of each Gaussian in the training images between two densifications."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_FILLS = {"gradients": 0.0, "seen": 0.0, "largest_radius": 0.0}


class Statistics:
    """Sums and extremes with a row for each Gaussian of a population, whose changes they follow."""

    def __init__(self, count: int, device: torch.device) -> None:
        self._fills = dict(_FILLS)
        self._device = device
        self.rows: dict[str, Tensor] = {}
        self._count = count
        self.clear()

    def add(self, name: str, fill: float) -> None:
        """One more number a row, which begins as `fill`."""
        self._fills[name] = fill
        self.rows[name] = self._fresh(name, self._count)

    @property
    def gradients(self) -> Tensor:
        """Sum [n] of the lengths of screen-space gradients, NDC units."""
        return self.rows["gradients"]

    @property
    def seen(self) -> Tensor:
        """Images [n] that showed a Gaussian."""
        return self.rows["seen"]

    @property
    def largest_radius(self) -> Tensor:
        """Largest radius [n] in an image, px; 0 where none showed it."""
        return self.rows["largest_radius"]

    def observe(self, gradients: Tensor, radii: Tensor) -> None:
        """Takes in an image: gradients [n, 2] of the means on the screen in NDC units, radii [n] px, 0 unseen."""
        visible = (radii > 0).float()
        self.gradients.addcmul_(gradients.norm(dim=1), visible)
        self.seen.add_(visible)
        torch.maximum(self.largest_radius, radii.float(), out=self.largest_radius)

    def mean_gradients(self) -> Tensor:
        """Mean length [n] of the screen-space gradient over the images that showed a Gaussian, NDC units."""
        return self.gradients / self.seen.clamp(min=1)

    def keep(self, mask: Tensor) -> None:
        """Follows Population.keep."""
        self.rows = {name: values[mask] for name, values in self.rows.items()}
        self._count = len(self.gradients)

    def grow(self, count: int) -> None:
        """Follows Population.append: rows at their beginning."""
        self.rows = {name: torch.cat([values, self._fresh(name, count)]) for name, values in self.rows.items()}
        self._count += count

    def copy(self, sources: Tensor) -> None:
        """Follows Population.append of copies, which have the rows of their sources (indices)."""
        self.rows = {name: torch.cat([values, values[sources]]) for name, values in self.rows.items()}
        self._count += len(sources)

    def clear(self) -> None:
        """All rows at their beginning."""
        self.rows = {name: self._fresh(name, self._count) for name in self._fills}

    def state(self) -> dict[str, Tensor]:
        """The rows, for a checkpoint."""
        return dict(self.rows)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The rows of a checkpoint; raises KeyError where one is missing."""
        self.rows = {name: state[name].to(self._device) for name in self._fills}
        self._count = len(self.gradients)

    def _fresh(self, name: str, count: int) -> Tensor:
        return torch.full((count,), self._fills[name], device=self._device)
