"""The training of one expert: what all experts share, and the methods where recipes differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, ClassVar

import torch
from moegs_rasterizer import Gaussians
from moegs_rasterizer.types import Backend
from torch import Tensor, nn

from common import ranks
from common.collectives import add_up_gradients
from common.maths.tensors import constant
from experts.base import DivergedError, Expert
from experts.training.colour_correction import ColourCorrection
from experts.training.gaussians.density import PARAMETERS, clone_and_split, prune, reset_opacities
from experts.training.gaussians.population import Population, fill_parameters
from experts.training.gaussians.relocation import add_noise, check_density, faint, relocate_within
from experts.training.gaussians.statistics import Statistics
from experts.training.generalisation.generaliser import Generaliser
from experts.training.generalisation.removal import blending_weights, spread
from experts.training.recipes.rates import build_optimiser, set_rates
from experts.training.recipes.recipe import Recipe
from experts.training.rendered import RenderedView, added, cut_harmonics, mute_harmonics, render
from experts.training.samplers import Sample, Sampler, ShuffledPass
from experts.training.samples_ahead import SamplesAhead
from experts.training.saved_states import check_parameters, check_rows, load_moments
from experts.training.shared_views import numbers_of_all, on_all_ranks
from experts.training.views import TrainingViews
from losses import photometric_sum


class ExpertTrainer:
    """A model in training, with its optimiser, statistics and random numbers; one subclass an expert.

    An iteration is `losses`, each differentiated as it comes, then `update`. What a recipe's table cannot say is a
    method that the subclass overrides. Several ranks share an iteration's images, and change their models in the same
    way. `extent` is 3DGS's: 1.1 times the largest distance of a training camera from
    their mean, in the model's units.
    """

    name: ClassVar[str]
    harmonics_heads: ClassVar[Sequence[str]] = ()  # linear layers of the model that add to harmonics of all degrees
    in_population: ClassVar[Sequence[str]] = PARAMETERS  # names that `control` needs in every population

    def __init__(
        self,
        model: Expert,
        recipe: Recipe,
        *,
        populations: Sequence[Population],
        extent: float,
        views: TrainingViews,
        seed: int,
    ) -> None:
        assert isinstance(model, nn.Module)
        for head in self.harmonics_heads:  # what training does not show must not appear in the saved model
            mute_harmonics(model.get_submodule(head), above=recipe.sh_degree)
        for population in populations:
            population.require(self.in_population)
        check_density(recipe.density, sum(population.count for population in populations))
        self.model: Any = model
        self.recipe = recipe
        self.populations = tuple(populations)
        self.extent = extent
        self.views = views
        self.generator = torch.Generator().manual_seed(seed)
        self.device = populations[0].device
        self.backend: Backend = "auto"
        self.correction: ColourCorrection | None = None
        self.lpips: Callable[[Tensor, Tensor], Tensor] | None = None  # of images in -1 ... 1, where `needs_lpips`
        self.statistics = tuple(Statistics(population.count, self.device) for population in populations)
        self.sampler = self.new_sampler()
        self.images = SamplesAhead(self.sampler, views, last=recipe.iterations, name=self.name)
        self.optimiser = self.new_optimiser()
        self.generaliser = Generaliser(recipe, self.populations, views, extent=extent, unit=self.unit)
        self._rendered: list[RenderedView] = []  # of the iteration under way
        self._samples: tuple[Sample, ...] = ()  # of all ranks
        self._begun: Tensor | None = None  # random numbers' state once they were chosen; None between iterations
        self._loss = torch.zeros(())  # mean over its images, without regularisers

    def losses(self, iteration: int) -> Iterator[Tensor]:
        """The loss of an iteration, counted from 1, in parts, each differentiated before the next is asked for.

        A part is of one moment: its images share the model's pass, and one pass back, since small models wait for
        the launch of operators. Parts sum to the mean over images, with the regularisers in the last. On several ranks
        all their parts together do, and the regularisers are rank 0's.
        """
        self.begin(iteration)
        self._samples = samples = self.images.next(iteration)
        self._begun = self.generator.get_state()
        drawn = [(sample, self.background(), self.generaliser.draw(self.generator)) for sample in samples]
        by_moment = groupby(ranks.share(drawn), key=lambda one: self.moment(one[0], iteration))
        moments = [tuple(group) for _, group in by_moment]
        self._rendered, self._loss = [], torch.zeros((), device=self.device)
        for number, moment in enumerate(moments, 1):
            gaussians = self.gaussians(moment[0][0], iteration)
            rendered = [self._render(gaussians, *one, iteration) for one in moment]
            part = self.image_loss(rendered, iteration) / len(samples)
            terms = [term / len(samples) for term in self.generaliser.image_terms(rendered)]
            is_last = number == len(moments) and ranks.is_first()
            yield added([part, *terms, *(self._regularisers(iteration) if is_last else [])])
            self._loss = self._loss + part.detach()
            self._rendered += rendered

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Moves the parameters, then adds and removes Gaussians.

        3DGS does it in the other order, so that what was replaced misses a step.
        """
        learned = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        add_up_gradients([*learned, *(self.correction.parameters() if self.correction is not None else ())])
        with_images = self.observes_images(iteration)
        seen = on_all_ranks(self._rendered, self._samples, self.views.cameras, with_images=with_images)
        self.observe(seen, iteration)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if (noise := self.recipe.density.noise) > 0:
            for one in self.populations:
                add_noise(one, self.optimiser, weight=noise, extent=self.extent, generator=self.generator)
        if self.correction is not None:
            self.correction.step(iteration / self.recipe.iterations)
        self.control(iteration)
        self.generaliser.control(iteration, self.populations, self.statistics, partial(self._view_weights, iteration))
        self._begun = None

    def read(self, iteration: int) -> tuple[float, float]:
        """Loss, and PSNR (dB) of the last image, of the iteration that is done; waits for the device.

        Raises DivergedError where the loss is not finite.
        """
        loss, psnr = numbers_of_all(self._loss, self._rendered[-1].psnr, len(self._samples))
        if not loss < math.inf:
            raise DivergedError(
                f"{self.name}: the loss is {loss} at iteration {iteration}; lower the learning rates, or look for "
                "images and start points that do not belong together"
            )
        return loss, psnr

    def _regularisers(self, iteration: int) -> list[Tensor]:
        terms = (self.regulariser(iteration), self.correction.regulariser() if self.correction else None)
        return [*(term for term in terms if term is not None), *self.generaliser.regularisers(self.populations)]

    def _render(
        self, gaussians: Gaussians, sample: Sample, background: Tensor, drawn: int | None, iteration: int
    ) -> RenderedView:
        return render(
            self.model,
            gaussians,
            sample,
            self.views,
            features=self.features(gaussians, iteration),
            background=background,
            backend=self.backend,
            correction=self.correction,
            dropout=self.generaliser.dropout(gaussians.count, iteration, drawn),
            with_depth=self.generaliser.needs_depth,
        )

    def _view_weights(self, iteration: int) -> Tensor:
        """Each Gaussian's blending weights [views, n] in the training cameras, at a few frames."""

        def moments(view: int) -> Iterator[Gaussians]:
            return (self.gaussians(Sample(view=view, frame=frame), iteration) for frame in spread(self.frames()))

        return blending_weights(moments, self.views.cameras, self.model.settings, backend=self.backend)

    # Where recipes differ.

    @property
    def unit(self) -> float:
        """Data units per unit of the populations."""
        return 1.0

    @property
    def needs_lpips(self) -> bool:
        """True where the loss has LPIPS(alex), whose network the trainer is then given as `lpips`."""
        return False

    def frames(self) -> range:
        """Frames in training."""
        return range(self.views.num_frames)

    def new_sampler(self) -> Sampler:
        """Every image once before any comes again."""
        views = self.views
        return ShuffledPass(
            views=len(views.cameras), frames=views.num_frames, generator=self.generator, batch=self.recipe.batch
        )

    def new_optimiser(self) -> torch.optim.Optimizer:
        """The recipe's, on the model as it is now; the populations' moments follow it."""
        recipe = self.recipe
        optimiser = build_optimiser(
            self.model, recipe.rates, kind=recipe.optimiser, extent=self.extent, times=recipe.rates_times
        )
        for population in self.populations:
            population.attach(optimiser)
        return optimiser

    def begin(self, iteration: int) -> None:
        """Before an iteration, counted from 1: learning rates."""
        set_rates(self.optimiser, iteration / self.recipe.rate_iterations)

    def continue_from(self, iteration: int) -> None:
        """After `load`: what the model keeps of the iteration that is done, as it may be scored or saved at once."""

    def degree(self, iteration: int) -> int:
        """Degree of spherical harmonics in use."""
        return self.recipe.active_degree(iteration)

    def moment(self, sample: Sample, iteration: int) -> Hashable:
        """Key of the Gaussians of an image: images of one key share them."""
        return sample.frame

    def gaussians(self, sample: Sample, iteration: int) -> Gaussians:
        """The model at an image's frame, its harmonics cut to the degree in use."""
        gaussians: Gaussians = self.model.at(sample.frame, camera=self.views.numbers[sample.view])
        return cut_harmonics(gaussians, self.degree(iteration))

    def features(self, gaussians: Gaussians, iteration: int) -> Tensor | None:
        """Values [n, c] to carry to the pixels beside the colours."""
        return None

    def background(self) -> Tensor:
        """Colour [3] behind a training image."""
        if self.recipe.background == "random":
            return torch.rand(3, generator=self.generator).to(self.device, non_blocking=True)
        return constant(tuple(self.model.background), torch.float32, self.device)

    def image_loss(self, rendered: Sequence[RenderedView], iteration: int) -> Tensor:
        """Sum over images of one moment of the recipe's mixture of L1 and 1 - SSIM."""
        images, targets = [view.image for view in rendered], [view.target for view in rendered]
        return photometric_sum(images, targets, l1=self.recipe.l1, dssim=self.recipe.dssim)

    def regulariser(self, iteration: int) -> Tensor | None:
        """Added to the loss once an iteration."""
        return None

    def observe(self, rendered: Sequence[RenderedView], iteration: int) -> None:
        """After the gradients are there: statistics of every image, as if it had been alone in the iteration.

        On several ranks the images of all, of which only gradients on the screen, radii, opacities and gradients of
        features are there, and what `observes_images` asks for.
        """
        for view in rendered:
            self.take_in(view.screen_gradients(of=len(rendered)), view.splat.radii)

    def observes_images(self, iteration: int) -> bool:
        """True where `observe` looks at pixels, alphas and depths; only several ranks ask."""
        return False

    def take_in(self, gradients: Tensor, radii: Tensor) -> None:
        """Gives every population's statistics their rows of an image's."""
        counts = [population.count for population in self.populations]
        rows = zip(self.statistics, gradients.split(counts), radii.split(counts), strict=True)
        for statistics, own_gradients, own_radii in rows:
            statistics.observe(own_gradients, own_radii)

    def control(self, iteration: int) -> None:
        """After the optimiser's step: the recipe's density table, for every population."""
        density = self.recipe.density
        if density.kind == "relocate":
            if density.densifies(iteration):
                self.relocate()
            return
        for population, statistics in zip(self.populations, self.statistics, strict=True):
            if density.densifies(iteration):
                clone_and_split(population, statistics, density, extent=self.extent, generator=self.generator)
            if density.prunes(iteration):
                prune(population, statistics, density, extent=self.extent)
            if density.resets(iteration):
                reset_opacities(population, density.reset_to)

    def relocate(self, *, dead: Sequence[Tensor] | None = None, budget: int | None = None) -> None:
        """A step of a density table of the kind "relocate".

        dead: masks [n] of what goes, one for each population; by default what is too faint. budget: by default
        max_gaussians.
        """
        smallest, limit = self.recipe.density.smallest_opacity, self.recipe.density.max_gaussians
        budget = limit if budget is None else budget
        assert budget is not None  # check_density
        dead = faint(self.populations, smallest) if dead is None else dead
        relocate_within(
            budget,
            self.populations,
            self.statistics,
            dead,
            smallest_opacity=smallest,
            generator=self.generator,
            name=self.name,
        )

    @property
    def count(self) -> int:
        """Gaussians in all populations."""
        return sum(population.count for population in self.populations)

    def state(self) -> dict[str, Any]:
        """All that going on as if never stopped needs: tensors, numbers, texts, lists and dicts of them.

        Where the losses of an iteration failed, that iteration is still to come.
        """
        return {
            "parameters": dict(self.model.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "statistics": [statistics.state() for statistics in self.statistics],
            **self.images.state(again=[] if self._begun is None else [self._samples]),
            "random": self.generator.get_state() if self._begun is None else self._begun,
            "generalise": self.generaliser.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state; raises KeyError, ValueError or RuntimeError where it is of another training."""
        check_parameters(self.model, state["parameters"], self.populations)
        fill_parameters(self.model, state["parameters"])
        self.optimiser = self.new_optimiser()
        load_moments(self.optimiser, state["optimiser"])
        for statistics, rows, population in zip(self.statistics, state["statistics"], self.populations, strict=True):
            check_rows(rows, statistics.rows, count=population.count)
            statistics.load(rows)
        self.generator.set_state(state["random"])
        self.generaliser.load(state["generalise"], self.populations)
        self.images.load(state)
