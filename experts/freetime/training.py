"""FreeTime's training: a fixed number of Gaussians, of which dead ones are relocated (FreeTimeGS, FreeTimeGS++)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from moegs_rasterizer import Camera, Layer, Splat, rasterize
from torch import Tensor

from common.maths.tensors import constant
from common.text.wording import counted
from experts.freetime.model import FreeTime
from experts.freetime.new_model import model_from_start
from experts.freetime.rays import gaussians_along_rays, least_seen
from experts.freetime.recipe import FreeTimeRecipe
from experts.freetime.relocation import Transfer, relocate
from experts.training.gaussians.population import Population
from experts.training.gaussians.statistics import Statistics
from experts.training.recipes.rates import scale_to_batch
from experts.training.recipes.recipe_fields import N3V_EXTENT
from experts.training.rendered import RenderedView, cut_harmonics
from experts.training.samplers import SameMoment, Sampler
from experts.training.trainer import ExpertTrainer
from experts.training.views import TrainingViews
from losses import photometric_sum

logger = logging.getLogger(__name__)

LEAST_ALPHA = 1 / 255  # below, the rasterizer shows nothing
RAYS_SHARE = 0.5  # of all Gaussians, in all samplings along rays together
PASSES = 2  # over all images, after which what none showed is dead: two hold a whole one, wherever they begin
_GAUSSIANS = ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest")
_LIVES = ("times", "widths", "velocities", "gates")
_LASTING = ("shown", "unseen")


def _population(model: FreeTime) -> Population:
    lives = _LIVES if model.log_holds is None else (*_LIVES, "log_holds")
    return Population(
        {**{name: (model.gaussians, name) for name in _GAUSSIANS}, **{name: (model, name) for name in lives}}
    )


class LifeStatistics(Statistics):
    """Statistics that also tell what no image has shown, now or ever; these outlive a relocation.

    `shown`: 1 from the first image on that shows a Gaussian. `unseen`: images since the last one that did.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        super().__init__(count, device)
        for name in _LASTING:
            self.add(name, 0.0)

    def observe(self, gradients: Tensor, radii: Tensor) -> None:
        """As Statistics, and what the image shows."""
        super().observe(gradients, radii)
        visible = radii > 0
        self.rows["shown"].masked_fill_(visible, 1.0)
        self.rows["unseen"].add_(1.0).masked_fill_(visible, 0.0)

    def clear(self) -> None:
        """All rows at their beginning but the lasting ones."""
        lasting = {name: self.rows[name] for name in _LASTING if name in self.rows}
        super().clear()
        self.rows.update(lasting)


class FreeTimeTrainer(ExpertTrainer):
    """One training of FreeTime."""

    name: ClassVar[str] = FreeTime.name
    recipe: FreeTimeRecipe
    model: FreeTime
    statistics: tuple[LifeStatistics, ...]

    def __init__(
        self, model: FreeTime, recipe: FreeTimeRecipe, *, extent: float, views: TrainingViews, seed: int
    ) -> None:
        if model.life != recipe.life():
            raise ValueError(
                f"FreeTime: the model is {model.life}, the recipe's {recipe.life()}; make it by its recipe"
            )
        if recipe.density.kind != "densify":
            raise ValueError(
                f"density.kind is {recipe.density.kind}, and FreeTime relocates by a table of its own; leave it out, "
                "and see relocation.kind"
            )
        population = _population(model)
        recipe = replace(recipe, rates=recipe.own_rates())
        super().__init__(model, recipe, populations=[population], extent=extent, views=views, seed=seed)
        self.statistics = (LifeStatistics(population.count, self.device),)

    @property
    def needs_lpips(self) -> bool:
        """True where LPIPS has a weight in the loss."""
        return self.recipe.lpips != 0

    def new_sampler(self) -> Sampler:
        """Every image once before any comes again, or cameras at one frame."""
        if not self.recipe.same_frame:
            return super().new_sampler()
        views = self.views
        return SameMoment(
            views=len(views.cameras), frames=views.num_frames, generator=self.generator, batch=self.recipe.batch
        )

    def new_optimiser(self) -> torch.optim.Optimizer:
        """The recipe's; its rates and moments fit the images of an iteration where it says so."""
        optimiser, recipe = super().new_optimiser(), self.recipe
        if recipe.rates_by_batch:
            scale_to_batch(optimiser, min(recipe.batch, len(self.views.cameras)) if recipe.same_frame else recipe.batch)
        return optimiser

    def image_loss(self, rendered: Sequence[RenderedView], iteration: int) -> Tensor:
        """The photometric loss, LPIPS, and for each image the 4D regulariser of its moment."""
        recipe = self.recipe
        images, targets = [view.image for view in rendered], [view.target for view in rendered]
        loss = photometric_sum(images, targets, l1=(1 - recipe.l2) * recipe.l1, dssim=recipe.dssim)
        if recipe.l2:
            squares = [(image - target).square().mean() for image, target in zip(images, targets, strict=True)]
            loss = loss + recipe.l2 * recipe.l1 * torch.stack(squares).sum()
        if recipe.lpips:
            loss = loss + recipe.lpips * self._perceived(images, targets)
        if recipe.regularise_4d:
            loss = loss + recipe.regularise_4d * len(rendered) * self.shown_opacity(rendered[0].sample.frame)
        return loss

    def _perceived(self, images: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Sum [] of LPIPS of images in 0 ... 1, which the network takes in -1 ... 1."""
        if self.lpips is None:
            raise ValueError(f"FreeTime: lpips is {self.recipe.lpips:g}, and the trainer has no network; set its lpips")
        return torch.stack(
            [self.lpips(2 * image - 1, 2 * target - 1) for image, target in zip(images, targets, strict=True)]
        ).sum()

    def shown_opacity(self, frame: int) -> Tensor:
        """Mean opacity [] at a frame, whose gradient makes fainter but does not shorten lives (FreeTimeGS)."""
        with torch.no_grad():
            lifespans = self.model.lifespans(frame)
        return (self.model.gaussians.opacity_logits.sigmoid() * lifespans).mean()

    def regulariser(self, iteration: int) -> Tensor | None:
        """Small scales (FreeTimeGS++), gates that are open or shut by what images show, long lives (SharpTimeGS)."""
        recipe, model, terms = self.recipe, self.model, []
        if recipe.scale_penalty:
            unit = N3V_EXTENT / self.extent
            terms.append(recipe.scale_penalty * unit * model.gaussians.log_scales.exp().mean())
        gates = model.gate_values()
        if recipe.gate_penalty and gates is not None and iteration > recipe.gate_penalty_from:
            terms.append(recipe.gate_penalty * ((1 - gates) * self.statistics[0].rows["shown"]).mean())
        if recipe.life_penalty:
            terms.append(recipe.life_penalty * (1 / self._half_lives()).mean())
        return torch.stack(terms).sum() if terms else None

    def _half_lives(self) -> Tensor:
        """Frames [n] from an opaque Gaussian's moment until it is no longer seen."""
        lives = math.sqrt(-2 * math.log(LEAST_ALPHA)) * self.model.durations()
        return lives if self.model.log_holds is None else lives + self.model.log_holds.exp()

    def observe(self, rendered: Sequence[RenderedView], iteration: int) -> None:
        """Statistics of every image; what is too faint at its moment is not shown by it."""
        for view in rendered:
            seen = view.gaussians.opacities.detach() >= LEAST_ALPHA
            self.take_in(view.screen_gradients(of=len(rendered)), view.splat.radii * seen)

    def control(self, iteration: int) -> None:
        """Relocation, and what moves from rays: nothing is cloned, split, pruned or made faint."""
        kind = self.recipe.relocation.kind
        if kind != "none" and self.recipe.relocation.happens(iteration):
            self._relocate(kind)
        if self.recipe.moving == "rays" and iteration in self.recipe.rays_at:
            self._sample_along_rays(iteration)

    @torch.no_grad()
    def _sample_along_rays(self, iteration: int) -> None:
        """Lets Gaussians along rays take the places of the least seen ones."""
        recipe, population = self.recipe, self.populations[0]
        found = gaussians_along_rays(
            self.views,
            partial(self._shown, self.degree(iteration)),
            keyframe_every=recipe.keyframe_every,
            room=int(RAYS_SHARE * population.count / len(recipe.rays_at)),
            has_gates=self.model.life.has_gate,
            generator=self.generator,
        )
        if found is not None:
            places = least_seen(self.model, self.never_seen(), found.count)
            new = _population(model_from_start(found, recipe, self.model.num_frames))
            population.overwrite(places, {name: new[name] for name in new.names})
            for values in self.statistics[0].rows.values():
                values[places] = 0.0
        count = 0 if found is None else found.count
        logger.info("iteration %d: %s along rays of moving pixels", iteration, counted(count, "new Gaussian"))

    def _shown(self, degree: int, frame: int, cameras: Sequence[Camera]) -> Iterator[Splat]:
        """The model at a frame from cameras, before its own background."""
        gaussians = cut_harmonics(self.model.at(frame), degree)
        background = constant(tuple(self.model.background), torch.float32, self.device)
        layer = Layer(gaussians=gaussians, settings=self.model.settings, background=background)
        for camera in cameras:
            yield rasterize([layer], camera, backend=self.backend)[0]

    @torch.no_grad()
    def _relocate(self, kind: Transfer) -> None:
        population, statistics, settings = self.populations[0], self.statistics[0], self.recipe.relocation
        before = population["means"].detach().clone()
        relocate(
            population,
            gradients=statistics.mean_gradients(),
            generator=self.generator,
            kind=kind,
            dead_below=settings.dead_below,
            most_share=settings.most_share,
            also_dead=self.never_seen(),
            shown=statistics.rows["shown"] > 0,
            motion_shares=self.model.motion_shares(self.model.gate_values()),
            width_limit=self.model.life.limit,
        )
        moved = (population["means"].detach() != before).any(1)
        statistics.rows["unseen"].masked_fill_(moved, 0.0)
        statistics.clear()

    def never_seen(self) -> Tensor:
        """Mask [n] of what no frame of the clip shows clearly, and of what no image of two passes has shown."""
        clearest = self.model.lifespans(self.model.clearest_frames())
        faint = clearest * self.model.gaussians.opacity_logits.sigmoid() < self.recipe.relocation.dead_below
        images = PASSES * len(self.views.cameras) * len(self.frames())
        return faint | (self.statistics[0].rows["unseen"] >= images)
