"""One training of one expert: what all have in common, and where recipes differ."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from moegs_rasterizer import Camera, Gaussians, Splat
from torch import Tensor, nn

from common.tensors import constant
from experts.base import Expert
from experts.training.density import clone_and_split, prune, reset_opacities
from experts.training.population import Population
from experts.training.rates import build_optimiser, set_rates
from experts.training.recipe import Recipe
from experts.training.samplers import Sample, Sampler, ShuffledPass, samples_from_lists, samples_to_lists
from experts.training.statistics import Statistics
from experts.training.views import Footage
from losses import photometric_sum

FULL_DEGREE = 3  # of spherical harmonics, in all experts' files
AHEAD = 8  # iterations by which images are chosen before they are needed, so that they can be read meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A training image as it was rendered."""

    sample: Sample
    camera: Camera
    gaussians: Gaussians
    splat: Splat
    features: Tensor | None  # [n, c] what was carried beside the colours
    image: Tensor  # [3, h, w] as the loss sees it
    target: Tensor  # [3, h, w]

    def screen_gradients(self, *, of: int = 1) -> Tensor:
        """Gradients [n, 2] of the means on the screen in NDC units, times the number of images `of` in the loss."""
        found = self.splat.means2d.grad
        if found is None:
            return torch.zeros_like(self.splat.means2d)
        half = (0.5 * of * self.camera.width, 0.5 * of * self.camera.height)
        return found * constant(half, found.dtype, found.device)


class ExpertTrainer:
    """A model in training, with its optimiser, statistics and random numbers; one subclass an expert.

    What a recipe's table cannot say is a method that the subclass overrides. `extent` is 3DGS's: 1.1 times the
    largest distance of a training camera from their mean, in the model's units.
    """

    name: ClassVar[str]
    deforms_harmonics: ClassVar[bool] = False  # whether a network adds to spherical harmonics of all degrees

    def __init__(
        self,
        model: Expert,
        recipe: Recipe,
        *,
        populations: Sequence[Population],
        extent: float,
        footage: Footage,
        seed: int,
    ) -> None:
        assert isinstance(model, nn.Module)
        if self.deforms_harmonics and recipe.sh_degree < FULL_DEGREE:
            raise ValueError(
                f"sh_degree is {recipe.sh_degree}: the network adds to harmonics of degree {FULL_DEGREE} too, which "
                f"would be shown untrained; give {FULL_DEGREE}"
            )
        self.model: Any = model
        self.recipe = recipe
        self.populations = tuple(populations)
        self.extent = extent
        self.footage = footage
        self.generator = torch.Generator().manual_seed(seed)
        self.device = populations[0].device
        self.statistics = tuple(Statistics(population.count, self.device) for population in populations)
        self.sampler = self.new_sampler()
        self.optimiser = self.new_optimiser()
        self._pending: deque[tuple[Sample, ...]] = deque()
        self._drawn = 0  # iterations whose images are chosen

    def new_sampler(self) -> Sampler:
        """Every image once before any comes again."""
        footage = self.footage
        return ShuffledPass(
            views=len(footage.cameras), frames=footage.num_frames, generator=self.generator, batch=self.recipe.batch
        )

    def new_optimiser(self) -> torch.optim.Optimizer:
        """The recipe's, on the model as it is now; the populations' moments follow it."""
        recipe = self.recipe
        optimiser = build_optimiser(self.model, recipe.rates, kind=recipe.optimiser, extent=self.extent)
        for population in self.populations:
            population.attach(optimiser)
        return optimiser

    def begin(self, iteration: int) -> None:
        """Before an iteration, counted from 1: learning rates."""
        set_rates(self.optimiser, iteration / self.recipe.rate_iterations)

    def samples(self, iteration: int) -> tuple[Sample, ...]:
        """The iteration's images; those of later iterations are chosen and announced meanwhile."""
        while self._drawn < min(iteration + AHEAD, self.recipe.iterations):
            self._drawn += 1
            self._pending.append(self.sampler.next(self._drawn))
            self.footage.announce(self._pending[-1])
        return self._pending.popleft()

    def degree(self, iteration: int) -> int:
        """Degree of spherical harmonics in use."""
        return self.recipe.active_degree(iteration)

    def moment(self, sample: Sample, iteration: int) -> Hashable:
        """What `gaussians` depends on: images that agree in it share them."""
        return sample.frame

    def gaussians(self, sample: Sample, iteration: int) -> Gaussians:
        """The model at an image's frame, its harmonics cut to the degree in use."""
        found: Gaussians = self.model.at(sample.frame, camera=self.footage.numbers[sample.view])
        return cut_harmonics(found, self.degree(iteration))

    def features(self, gaussians: Gaussians, iteration: int) -> Tensor | None:
        """Values [n, c] to carry to the pixels beside the colours."""
        return None

    def background(self) -> Tensor:
        """Colour [3] behind a training image."""
        if self.recipe.background == "random":
            return torch.rand(3, generator=self.generator).to(self.device, non_blocking=True)
        return constant(tuple(self.model.background), torch.float32, self.device)

    def loss(self, seen: Sequence[Seen], iteration: int) -> Tensor:
        """Sum over images of one moment of the recipe's mixture of L1 and 1 - SSIM."""
        images, targets = [one.image for one in seen], [one.target for one in seen]
        return photometric_sum(images, targets, l1=self.recipe.l1, dssim=self.recipe.dssim)

    def regulariser(self, iteration: int) -> Tensor | None:
        """Added to the loss once an iteration."""
        return None

    def observe(self, seen: Sequence[Seen], iteration: int) -> None:
        """After the gradients are there: statistics of every image, as if it had been alone in the iteration."""
        for one in seen:
            self.take_in(one.screen_gradients(of=len(seen)), one.splat.radii)

    def take_in(self, gradients: Tensor, radii: Tensor) -> None:
        """Gives every population's statistics their rows of an image's."""
        counts = [population.count for population in self.populations]
        rows = zip(self.statistics, gradients.split(counts), radii.split(counts), strict=True)
        for statistics, own_gradients, own_radii in rows:
            statistics.observe(own_gradients, own_radii)

    def control(self, iteration: int) -> None:
        """After the optimiser's step: the recipe's density table, for every population."""
        density = self.recipe.density
        for population, statistics in zip(self.populations, self.statistics, strict=True):
            if density.densifies(iteration):
                clone_and_split(population, statistics, density, extent=self.extent, generator=self.generator)
            if density.prunes(iteration):
                prune(population, statistics, density, extent=self.extent)
            if density.resets(iteration):
                reset_opacities(population, density.reset_to)

    @property
    def count(self) -> int:
        """Gaussians in all populations."""
        return sum(population.count for population in self.populations)

    def state(self) -> dict[str, Any]:
        """All that going on as if never stopped needs: tensors, numbers, texts, lists and dicts of them."""
        return {
            "parameters": dict(self.model.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "statistics": [statistics.state() for statistics in self.statistics],
            "sampler": self.sampler.state(),
            "pending": samples_to_lists(list(self._pending)),
            "drawn": self._drawn,
            "random": self.generator.get_state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state; raises KeyError, ValueError or RuntimeError where it is of another training."""
        fill_parameters(self.model, state["parameters"])
        self.optimiser = self.new_optimiser()
        self.optimiser.load_state_dict(state["optimiser"])
        for statistics, rows in zip(self.statistics, state["statistics"], strict=True):
            statistics.load(rows)
        self.sampler.load(state["sampler"])
        self._pending = deque(samples_from_lists(state["pending"]))
        self._drawn = int(state["drawn"])
        self.generator.set_state(state["random"])
        for samples in self._pending:
            self.footage.announce(samples)


def added(terms: Sequence[Tensor]) -> Tensor:
    """The sum of one tensor or more, in as few launches as it takes."""
    return sum(terms[1:], start=terms[0])


def cut_harmonics(gaussians: Gaussians, degree: int) -> Gaussians:
    """Gaussians whose spherical harmonics end at a degree."""
    if gaussians.sh is None or gaussians.sh.shape[1] <= (degree + 1) ** 2:
        return gaussians
    return replace(gaussians, sh=gaussians.sh[:, : (degree + 1) ** 2])


def fill_parameters(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Gives a model the tensors of another of its kind, also where it has more Gaussians."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if own.keys() != values.keys():
        raise ValueError(f"parameters differ: {', '.join(sorted(own.keys() ^ values.keys()))}")
    for name, tensor in values.items():
        path, _, attribute = name.rpartition(".")
        owner, old = model.get_submodule(path), own[name]
        value = tensor.detach().to(old.device, copy=True)
        if isinstance(old, nn.Parameter):
            value = nn.Parameter(value, requires_grad=old.requires_grad)
        setattr(owner, attribute, value)
