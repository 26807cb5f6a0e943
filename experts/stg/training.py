"""Training one segment of STG in MoE-GS's SH variant (Li et al., CVPR 2024; splatted with Ex4DGS's settings)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from experts.stg.culling import bounding_box, outside, stands_close
from experts.stg.guided import GuidedSampling, gaussians_along_rays
from experts.stg.model import STG
from experts.stg.recipe import STGRecipe
from experts.training.gaussians.density import (
    Rows,
    add,
    clone_and_split,
    copied,
    prune,
    remove,
    reset_opacities,
    split_in_two,
)
from experts.training.gaussians.population import Population
from experts.training.gaussians.visibility import near_limits
from experts.training.recipes.recipe import Density
from experts.training.rendered import RenderedView
from experts.training.samplers import SameMoment, Sampler
from experts.training.trainer import ExpertTrainer
from experts.training.views import TrainingViews

PARAMETERS = (
    *("means", "motion", "quats", "omegas", "log_scales", "opacity_logits"),
    *("trbf_centres", "trbf_log_widths", "sh_dc", "sh_rest"),
)
GUIDED_SHARE = 0.1  # of max_gaussians: kept free for guided sampling, which comes after cloning and splitting
_TURNING = "turning"  # statistic: 1 where omegas learn and quats do not, from recipe.turning_start on


class STGTrainer(ExpertTrainer):
    """The training of an STG with one segment, which sees only the segment's frames."""

    name: ClassVar[str] = STG.name

    def __init__(self, model: STG, recipe: STGRecipe, *, extent: float, views: TrainingViews, seed: int) -> None:
        if len(model.parts) != 1:
            raise ValueError(f"STG: {len(model.parts)} segments; train one at a time, each in a trainer of its own")
        self.segment = model.parts[0]
        end = self.segment.first + self.segment.num_frames
        if end > views.num_frames:
            raise ValueError(
                f"STG: the segment ends at frame {end - 1}, the clip at {views.num_frames - 1}; shorten the segment"
            )
        population = Population({name: (self.segment, name) for name in PARAMETERS})
        super().__init__(model, recipe, populations=[population], extent=extent, views=views, seed=seed)
        self.recipe: STGRecipe = recipe
        self.statistics[0].add(_TURNING, 0.0)
        self.guided = GuidedSampling(recipe.guidance, views=len(views.cameras), device=self.device)
        self._bounds: dict[str, Tensor] = {}  # near limits and box of the first Gaussians; empty until iteration 1
        self._badly_shown: RenderedView | None = None

    def frames(self) -> range:
        """The segment's."""
        return range(self.segment.first, self.segment.first + self.segment.num_frames)

    def new_sampler(self) -> Sampler:
        """Different cameras at one of the segment's frames."""
        return SameMoment(
            views=len(self.views.cameras),
            frames=self.segment.num_frames,
            generator=self.generator,
            batch=self.recipe.batch,
            start=self.segment.first,
        )

    def begin(self, iteration: int) -> None:
        """Learning rates; before the first iteration also what is measured of the first Gaussians."""
        if not self._bounds:
            self._survey()
        super().begin(iteration)

    @torch.no_grad()
    def _survey(self) -> None:
        population = self.populations[0]
        self._bounds["limits"] = near_limits(population["means"], self.views.cameras, self.recipe.near_share)
        if self.recipe.near_cull:
            self._cull_near()
        self._bounds["box"] = bounding_box(population["means"], self.recipe.box_margin)

    def observe(self, seen: Sequence[RenderedView], iteration: int) -> None:
        """Statistics, which images are bad, and which Gaussians' rotations learn."""
        counted = seen if self.recipe.statistics_of_all else seen[-1:]
        for one in counted:
            self.take_in(one.screen_gradients(of=len(seen)), one.splat.radii)
        for one in seen:
            self.guided.look(one, iteration)
        if self.guided.wants(seen[-1], iteration):
            self._badly_shown = seen[-1]
        self._separate_rotations(iteration)

    def observes_images(self, iteration: int) -> bool:
        """True while guided sampling measures or samples, and for the first images of a camera."""
        return self.guided.looks([sample.view for sample in self._samples], iteration)

    def _separate_rotations(self, iteration: int) -> None:
        """From turning_start on, omegas learn in what turns, quats in all else."""
        start, stop = self.recipe.turning_start, self.recipe.turning_stop
        if start is None or iteration <= start or (stop is not None and iteration > stop):
            return
        turning = self.statistics[0].rows[_TURNING][:, None]
        for name, weights in (("omegas", turning), ("quats", 1 - turning)):
            gradient = self.populations[0][name].grad
            if gradient is not None:
                gradient.mul_(weights)

    def control(self, iteration: int) -> None:
        """Clones and splits first, prunes later, or relocates; the rest at its times."""
        density = self.recipe.density
        if density.kind == "densify":
            self._densify_or_prune(iteration)
            if density.resets(iteration):
                reset_opacities(self.populations[0], density.reset_to)
        elif density.densifies(iteration):
            guided = self.guided.chosen == []  # all that wanted it have been sampled
            self.relocate(budget=(density if guided else self._unguided_density()).max_gaussians)
        if self._badly_shown is not None:
            self._sample(self._badly_shown)
            self._badly_shown = None
        again = self.recipe.near_cull_again
        if again is not None and iteration >= again and (iteration - again) % self.recipe.near_cull_every == 0:
            self._cull_near()
        if iteration == self.recipe.turning_start:
            self._choose_turning()
        if iteration == self.recipe.box_cull:
            population = self.populations[0]
            remove(population, self.statistics[0], outside(population["means"].detach(), self._bounds["box"]))

    def _densify_or_prune(self, iteration: int) -> None:
        recipe, density = self.recipe, self.recipe.density
        population, statistics = self.populations[0], self.statistics[0]
        first_steps = iteration // density.every - density.start // density.every <= recipe.densifications
        if density.densifies(iteration) and first_steps:
            clone_and_split(
                population,
                statistics,
                self._unguided_density(),
                extent=self.extent,
                generator=self.generator,
                clone=_cloned,
                split=_split,
            )
            if recipe.prune_when_densifying:
                prune(population, statistics, density, extent=self.extent)
        elif density.prunes(iteration) and not first_steps and iteration < recipe.prune_stop:
            prune(population, statistics, density, extent=self.extent)

    def _unguided_density(self) -> Density:
        """The table with what guided sampling leaves of the limit."""
        density = self.recipe.density
        if density.max_gaussians is None or self.recipe.guidance.views == 0:
            return density
        return replace(density, max_gaussians=int((1 - GUIDED_SHARE) * density.max_gaussians))

    def _sample(self, seen: RenderedView) -> None:
        population, limit = self.populations[0], self.recipe.density.max_gaussians
        rows = gaussians_along_rays(
            seen,
            self.recipe.guidance,
            largest=self.guided.depths[seen.sample.view],
            means=population["means"].detach(),
            far=self.model.far,
            extent=self.extent,
            log_width=self.recipe.trbf_log_width,
            room=None if limit is None else max(0, limit - population.count),
            generator=self.generator,
        )
        add(population, self.statistics[0], rows)

    def _cull_near(self) -> None:
        population = self.populations[0]
        close = stands_close(population["means"].detach(), self.views.cameras, self._bounds["limits"])
        remove(population, self.statistics[0], close)

    def _choose_turning(self) -> None:
        """Fast, opaque Gaussians of middle size turn from now on; all others no more."""
        recipe, population = self.recipe, self.populations[0]
        speed = population["motion"].detach()[:, :3].abs().sum(1) / self.extent
        size = population["log_scales"].detach().amax(1).exp() / self.extent
        turning = (
            (speed > recipe.turning_speed)
            & (size > recipe.turning_smallest)
            & (size < recipe.turning_largest)
            & (population["opacity_logits"].detach().sigmoid() > recipe.turning_opacity)
        )
        self.statistics[0].rows[_TURNING] = turning.float()
        population.put("omegas", population["omegas"].detach() * turning[:, None])

    def state(self) -> dict[str, Any]:
        """The trainer's, with what was measured of the first Gaussians and what guided sampling knows."""
        # "place": the key of files that exist
        return {**super().state(), "place": dict(self._bounds), "guided": self.guided.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state; raises KeyError, ValueError or RuntimeError where it is of another training."""
        super().load(state)
        self._bounds = {name: values.to(self.device) for name, values in state["place"].items()}
        self.guided.load(state["guided"])


def single_segments(expert: STG) -> list[STG]:
    """An STG of each segment, with the expert's own parameters; raises ValueError where they cannot be trained."""
    if expert.parts[0].sh_dc is None:
        raise ValueError("STG's full and lite variants cannot be trained here; take a model of the SH variant")
    singles = []
    for segment in expert.parts:
        single = STG(
            segments=[segment],
            near=expert.near,
            far=expert.far,
            low_pass=expert.low_pass,
            provenance=expert.provenance,
        )
        single.background = expert.background
        singles.append(single)
    return singles


def _cloned(rows: Rows, generator: torch.Generator) -> Rows:
    return _at_any_time(copied(rows, generator), generator)


def _split(rows: Rows, generator: torch.Generator) -> Rows:
    return _at_any_time(split_in_two(rows, generator), generator)


def _at_any_time(rows: Rows, generator: torch.Generator) -> Rows:
    """New Gaussians whose temporal windows have random centres in the segment, as STG's have."""
    centres = rows["trbf_centres"]
    return {**rows, "trbf_centres": torch.rand(len(centres), generator=generator).to(centres)}
