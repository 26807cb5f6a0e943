"""One optimisation loop for every expert: plain gradient descent on training images, no densification.

It serves small clips whose surface points are known (the demo); full stage-1 training grows its own Gaussians.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from moegs_rasterizer import Camera, Layer, rasterize
from torch import Tensor, nn

from ..base import Expert

# Parameter name or prefix of names: learning rate at the start and at the end. The first prefix that fits counts.
Rates = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingViews:
    """Training cameras and their images."""

    cameras: Sequence[Camera]
    numbers: Sequence[int]  # each camera's number, for experts with per-camera parameters
    num_frames: int
    image: Callable[[int, int], Tensor]  # (position in cameras, frame) -> [3, h, w] in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How long to optimise, and on what; `progress` is told the loss after every iteration."""

    iterations: int
    seed: int = 0
    sh_degree: int = 0  # coefficients of higher degrees stay as they are
    squared: float = 2.0  # weight of the squared error beside the absolute one: PSNR is about squares
    progress: Callable[[int, float], None] | None = None


def fit(expert: Expert, rates: Rates, views: TrainingViews, options: FitOptions) -> list[float]:
    """Optimise the named parameters of an expert in place; returns the loss of every iteration.

    One random (camera, frame) an iteration, Adam, learning rates falling exponentially from start to end; parameters
    that `rates` does not name stay as they are. Raises ValueError for a name in `rates` that no parameter has.
    """
    optimiser = adam(expert, rates)
    losses = []
    for iteration, (view, frame) in enumerate(_shots(views, options)):
        set_rates(optimiser, iteration / max(1, options.iterations - 1))
        loss = _image_loss(expert, views, (view, frame), options)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        _drop_high_degrees(expert, options.sh_degree)
        optimiser.step()
        losses.append(loss.item())
        if options.progress is not None:
            options.progress(iteration, losses[-1])
    return losses


def render(expert: Expert, camera: Camera, frame: float, *, number: int | None = None) -> Tensor:
    """An expert's picture [3, h, w], differentiable in all its parameters; number: that of a training camera."""
    gaussians = expert.at(frame, camera=number)
    background = gaussians.means.new_tensor(expert.background)
    layer = Layer(gaussians=gaussians, settings=expert.settings, background=background)
    return expert.colour(rasterize([layer], camera, grad="full")[0], camera, frame=frame)


def _image_loss(expert: Expert, views: TrainingViews, shot: tuple[int, int], options: FitOptions) -> Tensor:
    view, frame = shot
    image = render(expert, views.cameras[view], frame, number=views.numbers[view])
    error = image - views.image(view, frame)
    return error.abs().mean() + options.squared * error.square().mean()


def _shots(views: TrainingViews, options: FitOptions) -> Iterator[tuple[int, int]]:
    """(camera, frame) pairs, every pair once before any comes again."""
    generator = torch.Generator().manual_seed(options.seed)
    total, left = len(views.cameras) * views.num_frames, options.iterations
    while left > 0:
        for shot in torch.randperm(total, generator=generator)[:left].tolist():
            yield divmod(shot, views.num_frames)
        left -= total


def adam(expert: Expert, rates: Rates) -> torch.optim.Adam:
    """Adam on the parameters that `rates` names; all others stop asking for gradients.

    Raises ValueError for a name that no parameter has.
    """
    parameters = _parameters(expert)
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    groups = []
    taken: set[str] = set()
    for prefix, (first, last) in rates.items():
        names = [name for name in parameters if name.startswith(prefix) and name not in taken]
        taken.update(names)
        chosen = [parameters[name] for name in names]
        if not chosen:
            raise ValueError(f"{expert.name} has no parameter {prefix!r}; it has {', '.join(parameters)}")
        for parameter in chosen:
            parameter.requires_grad_(True)
        groups.append({"params": chosen, "lr": first, "first": first, "last": last})
    return torch.optim.Adam(groups, eps=1e-15, fused=True)


def _drop_high_degrees(expert: Expert, degree: int) -> None:
    """Zeroes the gradients of SH coefficients above a degree."""
    for name, parameter in _parameters(expert).items():
        if name.split(".")[-1] == "sh_rest" and parameter.grad is not None:
            parameter.grad[:, (degree + 1) ** 2 - 1 :] = 0.0


def set_rates(optimiser: torch.optim.Adam, done: float) -> None:
    """Learning rates at a share of the way from 0 to 1, on a straight line in the logarithm."""
    for group in optimiser.param_groups:
        group["lr"] = math.exp((1 - done) * math.log(group["first"]) + done * math.log(group["last"]))


def _parameters(expert: Expert) -> dict[str, nn.Parameter]:
    """Every expert is a module; the protocol alone does not say so."""
    assert isinstance(expert, nn.Module)
    return dict(expert.named_parameters())
