"""Ex4DGS's training: static Gaussians become dynamic while the clip in training gets longer (Lee et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from moegs_rasterizer import Gaussians
from torch import Tensor

from experts.ex4dgs.density import clone_dynamic, split_dynamic
from experts.ex4dgs.errors import BacktrackedErrors, error_maps
from experts.ex4dgs.extraction import extract, moving_most
from experts.ex4dgs.growth import Span, adjust_windows, append_keyframes, full_span, lengthened, next_span
from experts.ex4dgs.model import Ex4DGS
from experts.ex4dgs.recipe import Ex4DGSRecipe
from experts.training.gaussians.density import clone_and_split, copied, prune, remove, split_in_two
from experts.training.gaussians.population import Population
from experts.training.recipes.recipe import Density
from experts.training.rendered import RenderedView, added
from experts.training.samplers import ShuffledPass
from experts.training.trainer import ExpertTrainer
from experts.training.views import TrainingViews

_HARMONICS = ("sh_dc", "sh_rest")
_STATIC = ("means", "displacements", "log_scales", "quats", "opacity_logits", *_HARMONICS)
_DYNAMIC = ("means", "quats", "log_scales", "opacity_logits", "opacity_centres", "opacity_log_widths", *_HARMONICS)
_SETTLED = 1e-3  # displacement below which the regulariser hardly tells lengths apart, times the extent


class Ex4DGSTrainer(ExpertTrainer):
    """One training of Ex4DGS: populations are static Gaussians, then dynamic ones, as `Ex4DGS.at` has them.

    extent: in data units, as the cameras are; the model's own world may be another (`world_scale`).
    """

    name: ClassVar[str] = Ex4DGS.name
    recipe: Ex4DGSRecipe
    sampler: ShuffledPass
    statistics: tuple[BacktrackedErrors, ...]

    def __init__(self, model: Ex4DGS, recipe: Ex4DGSRecipe, *, extent: float, views: TrainingViews, seed: int) -> None:
        if not recipe.decay_motion_rate:
            constant = replace(recipe.rates["dynamic.means"], last=None)
            recipe = replace(recipe, rates={**recipe.rates, "dynamic.means": constant})
        self.span = Span(frames=recipe.growth.frames)
        populations = (
            Population({name: (model.static, name) for name in _STATIC}),
            Population({name: (model.dynamic, name) for name in _DYNAMIC}),
        )
        super().__init__(
            model, recipe, populations=populations, extent=extent / model.world_scale, views=views, seed=seed
        )
        self.statistics = tuple(BacktrackedErrors(population.count, self.device) for population in populations)
        self._passes = 0  # begun, as far as pruning knows
        self._last: RenderedView | None = None

    @property
    def unit(self) -> float:
        """The model's own."""
        return float(self.model.world_scale)

    def frames(self) -> range:
        """Those up to which the clip in training has grown."""
        return range(self._frames_in_training())

    def new_sampler(self) -> ShuffledPass:
        """All images of the frames in training."""
        cameras, frames = len(self.views.cameras), self._frames_in_training()
        return ShuffledPass(views=cameras, frames=frames, generator=self.generator, batch=self.recipe.batch)

    def begin(self, iteration: int) -> None:
        """Before an iteration: learning rates; the clip in training gets longer."""
        super().begin(iteration)
        timeline, growth = self.model.timeline, self.recipe.growth
        full, stop = full_span(timeline, self.views.num_frames), min(self._stop, self.recipe.iterations)
        frames = next_span(self.span.frames, iteration, growth, full=full, stop=stop)
        if frames > self.span.frames:
            self.span.frames = frames
            self.sampler.frames = self._frames_in_training()
            self.model.timeline = lengthened(timeline, frames)
            self.span.wanted |= append_keyframes(self.populations[1], timeline, self.model.timeline)
        self.span.arm(iteration, growth)

    def features(self, gaussians: Gaussians, iteration: int) -> Tensor | None:
        """Zeros whose gradients are the sums over pixels that `BacktrackedErrors` takes in, while they are used."""
        if iteration >= self._stop:
            return None
        channels = 3 if self.recipe.prune_by_error else 2
        return torch.zeros(gaussians.count, channels, device=self.device, requires_grad=True)

    def image_loss(self, seen: Sequence[RenderedView], iteration: int) -> Tensor:
        """The recipe's, and zero for the sake of the features' gradients."""
        loss = super().image_loss(seen, iteration)
        for one in seen:
            if one.features is not None and one.splat.features is not None:
                maps = error_maps(one.image, one.target, channels=one.features.shape[1])
                loss = loss + self.recipe.batch * (one.splat.features * maps).sum()
        return loss

    def regulariser(self, iteration: int) -> Tensor | None:
        """Short displacements, and keyframes near their first; lengths in units of the extent."""
        recipe, (static, dynamic) = self.recipe, self.populations
        terms = []
        if iteration > recipe.growth.every + recipe.growth.extract_after and static.count > 0:
            lengths = static["displacements"].norm(dim=1) / self.extent
            terms.append(recipe.static_weight * (lengths + _SETTLED).log().mean())
        if dynamic.count > 0:
            means = dynamic["means"]
            distances = (means[:, 1:] - means[:, :1]).norm(dim=2)
            terms.append(recipe.motion_weight / self.extent * distances.mean())
        return added(terms) if terms else None

    def observe(self, seen: Sequence[RenderedView], iteration: int) -> None:
        """Statistics, and the errors of the pixels that Gaussians showed."""
        super().observe(seen, iteration)
        counts = [population.count for population in self.populations]
        for one in seen:
            if one.features is not None and one.features.grad is not None:
                for errors, sums in zip(self.statistics, one.features.grad.split(counts), strict=True):
                    errors.observe_errors(sums, one.sample.frame)
        self._last = seen[-1]

    def control(self, iteration: int) -> None:
        """After a step: extraction, density, opacity windows, and what is pruned after a pass over all images.

        Relocation draws static and dynamic Gaussians together.
        """
        recipe = self.recipe
        self._extract(iteration)
        self._last = None
        if recipe.prune_by_error:
            self._prune_by_error(iteration)
        if recipe.density.kind == "densify":
            self._densify(iteration)
        elif recipe.density.densifies(iteration):
            self.relocate()
            for statistics in self.statistics:
                statistics.clear()
        started = recipe.density.start < iteration < recipe.windows_stop
        if started and iteration % recipe.windows_every == 0 and self.populations[1].count > 0:
            adjust_windows(self.populations[1], self.model.timeline, self.span.frames)
        if self.sampler.passes != self._passes:
            self._passes = self.sampler.passes
            if iteration > recipe.prune_start:
                self._prune_after_pass(iteration)

    def _extract(self, iteration: int) -> None:
        growth, density = self.recipe.growth, self.recipe.density
        if not growth.start < iteration < self._stop or self._last is None:
            return
        late = self._last.sample.frame >= self._frames_in_training() - growth.frames
        armed = self.span.armed and late
        if not armed and (iteration % growth.extract_every or density.densifies(iteration)):
            return
        static, dynamic = self.populations
        chosen = moving_most(
            static,
            self.statistics[0],
            self._last.splat.radii[: static.count] > 0,
            self._viewpoint(),
            extent=self.extent,
            percentile=growth.percentile,
        )
        extract(
            (static, self.statistics[0]),
            (dynamic, self.statistics[1]),
            chosen,
            self.model.timeline,
            frames=self.span.frames,
            along_path=self.recipe.extract_along_path,
        )
        if armed:
            self.span.extracted(bool(chosen.any()))

    def _viewpoint(self) -> Tensor:
        """The point [3] in model units from which an extraction measures distances."""
        assert self._last is not None
        camera = self._last.camera
        point = camera.centre if self.recipe.extract_by_camera_centre else camera.world_to_camera[:3, 3]
        return point.to(self.device, torch.float32) / self.model.world_scale

    def _densify(self, iteration: int) -> None:
        """Dynamic Gaussians first: what the table's limit leaves is the static ones' to fill."""
        timeline, table = self.model.timeline, self.recipe.density
        dynamic_table = replace(table, gradient=self.recipe.dynamic_gradient)
        rows = (
            (1, dynamic_table, partial(clone_dynamic, timeline=timeline), partial(split_dynamic, timeline=timeline)),
            (0, table, copied, split_in_two),
        )
        for index, density, clone, split in rows:
            population, statistics = self.populations[index], self.statistics[index]
            if density.densifies(iteration) and population.count > 0:
                clone_and_split(
                    population,
                    statistics,
                    self._within_limit(density, population),
                    extent=self.extent,
                    generator=self.generator,
                    clone=clone,
                    split=split,
                )
            if density.prunes(iteration):
                prune(population, statistics, density, extent=self.extent)

    def _within_limit(self, density: Density, population: Population) -> Density:
        """The table with what the limit on all Gaussians leaves one population."""
        if density.max_gaussians is None:
            return density
        return replace(density, max_gaussians=max(0, density.max_gaussians - (self.count - population.count)))

    def _prune_by_error(self, iteration: int) -> None:
        errors, density = self.recipe.errors, self.recipe.density
        due = density.densifies(iteration) and iteration // density.every % errors.every == 0
        if due and iteration > errors.start:
            for population, statistics in zip(self.populations, self.statistics, strict=True):
                unwanted = statistics.wrong(l1=errors.l1, dissimilarity=errors.dissimilarity)
                remove(population, statistics, unwanted)

    def _prune_after_pass(self, iteration: int) -> None:
        """Removes Gaussians that no image of the pass showed, while errors tell, and those shown too small.

        With relocation size does not count, and others take the places of those removed.
        """
        recipe = self.recipe
        radius = recipe.smallest_radius * self.views.cameras[0].width / recipe.published_width
        for population, statistics in zip(self.populations, self.statistics, strict=True):
            if recipe.prune_invisible and iteration < self._stop:
                remove(population, statistics, statistics.invisible())
            if recipe.prune_small and recipe.density.kind == "densify":
                remove(population, statistics, statistics.rows["smallest_radius"] < radius)
            statistics.new_pass()

    @property
    def _stop(self) -> int:
        """Iteration from which on Gaussians only go."""
        return self.recipe.density.stop

    def _frames_in_training(self) -> int:
        return min(self.span.frames, self.views.num_frames)

    def state(self) -> dict[str, Any]:
        """The trainer's state, with the part of the clip that is in training."""
        span = self.span
        grown = [span.frames, int(span.wanted), int(span.armed)]
        return {**super().state(), "span": grown, "duration": self.model.timeline.duration, "pruned": self._passes}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state, as all trainers do."""
        super().load(state)
        frames, wanted, armed = state["span"]
        self.span = Span(frames=int(frames), wanted=bool(wanted), armed=bool(armed))
        self.model.timeline = replace(self.model.timeline, duration=float(state["duration"]))
        self._passes = int(state["pruned"])
