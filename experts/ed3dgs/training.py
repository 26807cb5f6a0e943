"""E-D3DGS's training: every Gaussian has an embedding, two networks deform it (Bae et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from moegs_rasterizer import Gaussians
from torch import Tensor

from experts.canonical.precision import networks_in
from experts.ed3dgs.embedding_smoothness import Neighbourhood, neighbourhood
from experts.ed3dgs.embedding_smoothness_fused import Pairs, fused_smoothness, pairs_of
from experts.ed3dgs.frame_sampler import FrameErrors
from experts.ed3dgs.model import ED3DGS
from experts.ed3dgs.recipe import ED3DGSRecipe
from experts.training.gaussians.population import Population
from experts.training.rendered import RenderedView, added
from experts.training.samplers import Sample
from experts.training.saved_states import require_indices
from experts.training.shared_views import of_all_images
from experts.training.trainer import ExpertTrainer
from experts.training.views import TrainingViews
from losses import dssim_loss, l1_loss

_GAUSSIANS = ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest")


class ED3DGSTrainer(ExpertTrainer):
    """One training of E-D3DGS."""

    name: ClassVar[str] = ED3DGS.name
    harmonics_heads: ClassVar[Sequence[str]] = ("deformation.rgb_deform_c.3", "deformation.rgb_deform_f.3")
    recipe: ED3DGSRecipe
    model: ED3DGS
    sampler: FrameErrors

    def __init__(self, model: ED3DGS, recipe: ED3DGSRecipe, *, extent: float, views: TrainingViews, seed: int) -> None:
        slots = {name: (model.gaussians, name) for name in _GAUSSIANS}
        population = Population({**slots, "embeddings": (model, "embeddings")})
        recipe = replace(recipe, rates=recipe.network_rates())
        self._near: Neighbourhood | None = None
        self._near_of: Tensor | None = None  # the positions it was found for
        self._pairs: tuple[Pairs, ...] = ()  # its pairs, one part an iteration
        self._errors: list[Tensor] = []  # L1 of the iteration's images
        super().__init__(model, recipe, populations=[population], extent=extent, views=views, seed=seed)

    def new_sampler(self) -> FrameErrors:
        """Frames by their errors, cameras by chance."""
        views, recipe = self.views, self.recipe
        positions = torch.stack([camera.centre.cpu() for camera in views.cameras]) if recipe.far_cameras else None
        return FrameErrors(
            views=len(views.cameras),
            frames=views.num_frames,
            generator=self.generator,
            errors_from=recipe.errors_from,
            in_streak=recipe.in_streak,
            batch=recipe.batch,
            positions=positions,
            device=self.device,
        )

    def moment(self, sample: Sample, iteration: int) -> Hashable:
        """Each camera has a time offset of its own."""
        return sample

    def begin(self, iteration: int) -> None:
        """Annealing and coarse-to-fine go by the iteration."""
        super().begin(iteration)
        self.model.iteration = iteration

    def continue_from(self, iteration: int) -> None:
        """Annealing and coarse-to-fine are as after the iteration."""
        self.model.iteration = iteration

    def gaussians(self, sample: Sample, iteration: int) -> Gaussians:
        """By networks in the recipe's precision, forward and backward."""
        with networks_in(self.recipe.networks):
            return super().gaussians(sample, iteration)

    def image_loss(self, seen: Sequence[RenderedView], iteration: int) -> Tensor:
        """L1, and in a streak 1 - SSIM beside it: it then sees several cameras at one time."""
        recipe, losses = self.recipe, []
        for one in seen:
            error = l1_loss(one.image, one.target)
            self._errors.append(error.detach())
            losses.append(recipe.l1 * error)
            if recipe.dssim and recipe.in_streak(iteration):
                losses.append(recipe.dssim * dssim_loss(one.image, one.target))
        return added(losses)

    def regulariser(self, iteration: int) -> Tensor:
        """Faint Gaussians, and embeddings that differ little from their neighbours'."""
        recipe = self.recipe
        loss = recipe.faint * self.model.gaussians.opacity_logits.mean().sigmoid()
        if recipe.smooth == 0:
            return loss
        self._neighbours()
        pairs = self._pairs[iteration % len(self._pairs)]
        # The choice: plain_smoothness gives the same up to rounding, more slowly.
        rough = fused_smoothness(self.model.embeddings, pairs)
        return torch.add(loss, rough, alpha=recipe.smooth)

    def _neighbours(self) -> Neighbourhood:
        """Neighbours as they were when Gaussians last came or went; they move little in between."""
        means = self.model.gaussians.means
        if self._near is None or self._near_of is not means:
            unit = self.recipe.relative_extent(self.extent)
            self._keep(neighbourhood(means, falloff=self.recipe.falloff / unit**2))
        assert self._near is not None
        return self._near

    def _keep(self, near: Neighbourhood) -> None:
        self._near, self._near_of = near, self.model.gaussians.means
        self._pairs = pairs_of(near, near.parts(self.recipe.smooth_pairs))

    def observe(self, seen: Sequence[RenderedView], iteration: int) -> None:
        """Statistics, and how far each image was off."""
        super().observe(seen, iteration)
        for one, error in zip(seen, of_all_images(self._errors, len(seen)), strict=True):
            self.sampler.record(one.sample, error)
        self._errors.clear()

    def state(self) -> dict[str, Any]:
        """With the neighbours, whose distances are those of when they were found."""
        near = self._near if self._near_of is self.model.gaussians.means else None
        kept = {} if near is None else {"indices": near.indices, "strengths": near.strengths}
        return {**super().state(), "neighbours": kept}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        super().load(state)
        kept = state["neighbours"]
        if kept:
            require_indices(kept["indices"], self.count, "the list of neighbours")
            self._keep(Neighbourhood(**{name: values.to(self.device) for name, values in kept.items()}))
