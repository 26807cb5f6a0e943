"""4DGaussians' training: still Gaussians first, then a network that deforms them (Wu et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from moegs_rasterizer import Gaussians
from torch import Tensor

from experts.canonical.gaussians import activate
from experts.canonical.precision import networks_in
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.plane_regularisers_fused import fused_plane_regulariser
from experts.fourdgaussians.recipe import FourDGaussiansRecipe
from experts.training.gaussians.density import clone_and_split, prune, remove, reset_opacities
from experts.training.gaussians.population import Population
from experts.training.recipes.recipe import Density
from experts.training.rendered import RenderedView, cut_harmonics
from experts.training.samplers import Sample
from experts.training.trainer import ExpertTrainer
from experts.training.views import TrainingViews

_FRAMES_LOOKED_AT = 8  # for a Gaussian's largest opacity


class FourDGaussiansTrainer(ExpertTrainer):
    """4DGaussians in training: a coarse stage without deformation, then the fine one.

    Upstream's restart at a loss that is no number, its skipped last step and its last batch of a pass, which is used
    twice, are not reproduced.
    """

    name: ClassVar[str] = FourDGaussians.name
    harmonics_heads: ClassVar[Sequence[str]] = ("deformation.deformation_net.shs_deform.3",)
    recipe: FourDGaussiansRecipe

    def __init__(
        self, model: FourDGaussians, recipe: FourDGaussiansRecipe, *, extent: float, views: TrainingViews, seed: int
    ) -> None:
        """Raises ValueError where the coarse stage is longer than the whole training."""
        if recipe.coarse_iterations > recipe.iterations:
            raise ValueError(
                f"coarse_iterations is {recipe.coarse_iterations}, more than the {recipe.iterations} iterations of "
                "both stages; give fewer"
            )
        recipe = replace(recipe, rates=recipe.network_rates())
        gaussians = Population({name: (model.gaussians, name) for name, _ in model.gaussians.named_parameters()})
        super().__init__(model, recipe, populations=[gaussians], extent=extent, views=views, seed=seed)

    def begin(self, iteration: int) -> None:
        """A new optimiser and new statistics where the fine stage begins; learning rates."""
        fine, own = self.recipe.stage(iteration)
        if fine and own == 1:
            self.optimiser = self.new_optimiser()
            self.statistics[0].clear()
        super().begin(own)

    def moment(self, sample: Sample, iteration: int) -> Hashable:
        """The frame, once there is one."""
        return sample.frame if self.recipe.stage(iteration)[0] else None

    def gaussians(self, sample: Sample, iteration: int) -> Gaussians:
        """The canonical ones in the coarse stage, then those of the frame, by a network in the recipe's precision."""
        if self.recipe.stage(iteration)[0]:
            with networks_in(self.recipe.networks):
                return super().gaussians(sample, iteration)
        return cut_harmonics(activate(self.model.gaussians.raw()), self.degree(iteration))

    def regulariser(self, iteration: int) -> Tensor | None:
        """That of the planes, in the fine stage."""
        if not self.recipe.stage(iteration)[0]:
            return None
        grid = self.model.deformation.deformation_net.grid
        return fused_plane_regulariser(grid, self.recipe.planes)  # plain_plane_regulariser: the same, more slowly

    def observe(self, seen: Sequence[RenderedView], iteration: int) -> None:
        """Statistics of the batch as of one image: gradients added, radii the largest."""
        if not self.recipe.sum_batch_gradients:
            return super().observe(seen, iteration)
        gradients = torch.stack([one.screen_gradients() for one in seen]).sum(0)
        radii = torch.stack([one.splat.radii for one in seen]).amax(0)
        return self.take_in(gradients, radii)

    def control(self, iteration: int) -> None:
        """The density table, counted in iterations of the stage."""
        fine, own = self.recipe.stage(iteration)
        density = self._density(own)
        if density.kind == "relocate":
            if density.densifies(own):
                faintest = fine and self.recipe.faint_at_every_frame
                self.relocate(dead=[self.largest_opacities() <= density.smallest_opacity] if faintest else None)
            return
        (population,), (statistics,) = self.populations, self.statistics
        if density.densifies(own):
            clone_and_split(population, statistics, density, extent=self.extent, generator=self.generator)
        if density.prunes(own) and population.count > density.prune_above:
            if fine and self.recipe.faint_at_every_frame:
                remove(population, statistics, self.largest_opacities() < density.smallest_opacity)
                density = replace(density, smallest_opacity=0.0)
            prune(population, statistics, density, extent=self.extent)
        if density.resets(own):
            reset_opacities(population, density.reset_to)

    def _density(self, own: int) -> Density:
        """The table; sizes count once opacities have been reset (3DGS)."""
        density = self.recipe.density
        if density.reset_every is not None and own <= density.reset_every:
            return replace(density, largest_radius=None, largest_scale=None)
        return density

    @torch.no_grad()
    def largest_opacities(self) -> Tensor:
        """Each Gaussian's largest opacity [n] at eight frames between the clip's first and last."""
        last = self.views.num_frames - 1
        frames = sorted({round(last * part / (_FRAMES_LOOKED_AT - 1)) for part in range(_FRAMES_LOOKED_AT)})
        return torch.stack([self.model.at(frame).opacities for frame in frames]).amax(0)
