"""The measures of a recipe's table `generalise` in a training, the same for all experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from experts.training.gaussians.density import remove
from experts.training.gaussians.population import Population
from experts.training.gaussians.statistics import Statistics
from experts.training.gaussians.visibility import near_limits
from experts.training.generalisation.depth import DepthTargets, depth_loss, depth_targets
from experts.training.generalisation.dropout import Dropout
from experts.training.generalisation.removal import centres, close_to_a_camera, of_one_view
from experts.training.generalisation.smallest_scales import pixel_sizes, raise_scales
from experts.training.recipes.recipe import Recipe
from experts.training.rendered import RenderedView
from experts.training.saved_states import require_like
from experts.training.views import TrainingViews


class Generaliser:
    """Applies the table. Measures of the start points are of the first Gaussians, so that a resumed training has them.

    unit: data units per unit of the populations. extent: in units of the populations.
    """

    def __init__(
        self, recipe: Recipe, populations: Sequence[Population], views: TrainingViews, *, extent: float, unit: float
    ) -> None:
        """Raises ValueError for a setting that is out of its range."""
        recipe.generalise.check()
        self.settings = recipe.generalise
        self.recipe = recipe
        self.cameras = views.cameras
        self.extent, self.unit = extent, unit
        points = populations[0]["means"].detach() * unit
        self._limits = near_limits(points, self.cameras, self.settings.near) if self.settings.near else None
        self._targets: list[DepthTargets] = []
        if self.settings.depth:
            self._targets = [depth_targets(points, camera) for camera in self.cameras]
        self._random = torch.Generator(points.device)  # seeded for each image: masks are made where they are used
        self._floors: list[Tensor] = []  # lowest log scales, by population
        self._floors_of: list[Tensor] = []  # the means they are of

    def draw(self, generator: torch.Generator) -> int | None:
        """The random number that decides an image's dropout; None where it is off."""
        return None if self.settings.dropout == 0 else int(torch.randint(2**62, (1,), generator=generator))

    def dropout(self, count: int, iteration: int, drawn: int | None) -> Dropout | None:
        """The Gaussians that an image lacks, by what was drawn for it; None where dropout is off."""
        if drawn is None:
            return None
        share = self.settings.dropout * iteration / self.recipe.iterations
        self._random.manual_seed(drawn)
        chances = torch.rand(count, generator=self._random, device=self._random.device)
        return Dropout(kept=chances >= share, share=share)

    @property
    def needs_depth(self) -> bool:
        """True where images need depths with gradients."""
        return self.settings.depth > 0

    def image_terms(self, rendered: Sequence[RenderedView]) -> list[Tensor]:
        """Terms of images beside the recipe's own."""
        settings, terms = self.settings, []
        for one in rendered:
            if settings.moment_opacity and one.gaussians.count:
                terms.append(settings.moment_opacity * one.gaussians.opacities.mean())
            if one.depth is not None:
                targets, delta = self._targets[one.sample.view], settings.depth_delta
                terms.append(settings.depth * depth_loss(one.depth, one.splat.alpha, targets, delta=delta))
        return terms

    def regularisers(self, populations: Sequence[Population]) -> list[Tensor]:
        """Terms of an iteration: means over all Gaussians of opacities, and of scales over the extent."""
        terms, count = [], max(1, sum(population.count for population in populations))
        for population in populations:
            if self.settings.opacity and population.count:
                opacities = population["opacity_logits"].sigmoid()
                terms.append(self.settings.opacity / count * opacities.sum())
            if self.settings.scale and population.count:
                scales = population["log_scales"].exp()
                terms.append(self.settings.scale / (3 * count * self.extent) * scales.sum())
        return terms

    @torch.no_grad()
    def control(
        self,
        iteration: int,
        populations: Sequence[Population],
        statistics: Sequence[Statistics],
        view_weights: Callable[[], Tensor],
    ) -> None:
        """After a step and the recipe's own density control: removes Gaussians, and keeps scales from being too small.

        view_weights: gives the blending weights [views, n] of all populations' Gaussians, in their order.
        """
        every, last = self.recipe.density.every, self.recipe.iterations
        due = iteration == last or (iteration > self.recipe.density.start and iteration % every == 0)
        if self._limits is not None and due:
            for population, own in zip(populations, statistics, strict=True):
                near = close_to_a_camera(centres(population["means"]) * self.unit, self.cameras, self._limits)
                remove(population, own, near)
        if self.settings.single_view < 1 and iteration == max(1, round(self.settings.single_view_at * last)):
            unwanted = of_one_view(view_weights(), self.settings.single_view)
            counts = [population.count for population in populations]
            for population, own, rows in zip(populations, statistics, unwanted.split(counts), strict=True):
                remove(population, own, rows)
        if self.settings.smallest_px:
            self._raise_scales(iteration, populations)

    def _raise_scales(self, iteration: int, populations: Sequence[Population]) -> None:
        """Limits are measured anew where Gaussians came or went, and as often as density is looked at: they move."""
        changed = len(self._floors_of) != len(populations) or any(
            population["means"] is not means for population, means in zip(populations, self._floors_of, strict=True)
        )
        if changed or iteration % self.recipe.density.every == 0:
            self._floors = [self._log_floors(population) for population in populations]
            self._floors_of = [population["means"] for population in populations]
        for population, floors in zip(populations, self._floors, strict=True):
            raise_scales(population, floors)

    def _log_floors(self, population: Population) -> Tensor:
        """Lowest log scales [n] of a population, in its units."""
        sizes = pixel_sizes(centres(population["means"].detach()) * self.unit, self.cameras)
        return (self.settings.smallest_px / self.unit * sizes).log()

    def state(self) -> dict[str, Any]:
        """The state that `load` goes on from: all that was measured of Gaussians as they were, the first ones' too."""
        return {
            "floors": list(self._floors),
            "limits": self._limits,
            "targets": [{"pixels": each.pixels, "log_depths": each.log_depths} for each in self._targets],
        }

    def load(self, state: Mapping[str, Any], populations: Sequence[Population]) -> None:
        """Goes on from a state, once the populations have. States of older versions lack what the first ones gave."""
        device = self._random.device
        if state.get("limits") is not None:
            self._limits = state["limits"].to(device)
        if state.get("targets"):
            self._targets = [
                DepthTargets(pixels=each["pixels"].to(device), log_depths=each["log_depths"].to(device))
                for each in state["targets"]
            ]
        for floors, population in zip(state["floors"], populations, strict=bool(state["floors"])):
            require_like(floors, population["means"], "the floors of scales", shape=[population.count], finite=False)
        self._floors = [floors.to(self._random.device) for floors in state["floors"]]
        self._floors_of = [population["means"] for population in populations] if self._floors else []
