"""Stage 1 differentiates `at`: what every parameter of every expert gets, also where the numbers are extreme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from moegs_rasterizer import Gaussians
from torch import Tensor, nn

from benchmarks.trained_scenes import trained_like_scene
from experts import EXPERTS, SPLATTED, TRAINABLE
from experts.base import Expert
from experts.ex4dgs.model import Ex4DGS
from experts.ex4dgs.motion import KeyframeTimeline
from experts.stg.model import STG
from tests.experts.ex4dgs.test_ex4dgs import model as new_ex4dgs
from tests.experts.stg.test_stg import segment

FRAMES, COUNT = 20, 600  # more Gaussians than a network takes at once on a CPU
GAUSSIANS, _ = trained_like_scene(count=COUNT, width=64, height=48, seed=3)
NEVER_USED = "deformation.timenet."  # of 4DGaussians' network, in its files all the same


def ex4dgs(interpolation: str = "cube") -> Ex4DGS:
    """Windows that open and shut within the clip."""
    expert = new_ex4dgs(30, 40, timeline=KeyframeTimeline(duration=FRAMES, interpolation=interpolation))
    with torch.no_grad():
        expert.dynamic.opacity_log_widths.sub_(10)
    return expert


def stg(kind: str) -> Callable[[], Expert]:
    return lambda: STG(segments=[segment(0, FRAMES, count=30, kind=kind)])


def random_model(name: str) -> Expert:
    torch.manual_seed(0)
    return EXPERTS[name].random_model(GAUSSIANS)


VARIANTS: dict[str, Callable[[], Expert]] = {
    **{f"Ex4DGS {kind}": lambda kind=kind: ex4dgs(kind) for kind in ("cube", "pchip", "linear")},
    **{f"STG {kind}": stg(kind) for kind in ("sh", "full", "lite")},
}
OTHERS = [name for name in SPLATTED if not any(variant.startswith(f"{name} ") for variant in VARIANTS)]
MODELS = VARIANTS | {name: lambda name=name: random_model(name) for name in OTHERS}


def weighted(gaussians: Gaussians, seed: int) -> Tensor:
    """A sum of all that the rasterizer reads, with random factors."""
    generator = torch.Generator().manual_seed(seed)
    values = [value for field in fields(gaussians) if (value := getattr(gaussians, field.name)) is not None]
    return torch.stack([(value * torch.randn(value.shape, generator=generator)).sum() for value in values]).sum()


def gradients(expert: Expert) -> dict[str, Tensor | None]:
    """Sums of the absolute gradients at random frames; raises AssertionError for one that is not finite."""
    assert isinstance(expert, nn.Module)
    total: dict[str, Tensor | None] = dict.fromkeys(dict(expert.named_parameters()))
    for seed, frame in enumerate((FRAMES * torch.rand(8, generator=torch.Generator().manual_seed(1))).tolist()):
        expert.zero_grad()
        weighted(expert.at(frame, camera=seed), seed).backward()
        for name, parameter in expert.named_parameters():
            if parameter.grad is not None:
                assert parameter.grad.isfinite().all(), (name, frame)
                before = total[name]
                total[name] = parameter.grad.abs() + (0 if before is None else before)
    return total


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_of_every_gaussian_learns(name: str) -> None:
    expert = MODELS[name]()
    for parameter, gradient in gradients(expert).items():
        if parameter.startswith(NEVER_USED) or ".decoder." in parameter:  # STG's decoder works behind the rasterizer
            assert gradient is None
            continue
        assert gradient is not None and gradient.sum() > 0, parameter
        if parameter.startswith("gaussians."):
            assert (gradient.flatten(1) > 0).all() if gradient.dim() > 1 else (gradient > 0).all(), parameter


@pytest.mark.parametrize("var_pad", [0.0, 3.0])
@pytest.mark.parametrize("log_width", [-300.0, 300.0])
def test_ex4dgs_windows_as_wide_as_their_start_or_shut_stay_finite(log_width: float, var_pad: float) -> None:
    expert = new_ex4dgs(5, 40, timeline=KeyframeTimeline(duration=FRAMES, var_pad=var_pad))
    with torch.no_grad():
        expert.dynamic.opacity_log_widths.fill_(log_width)
        expert.dynamic.opacity_centres[0] = expert.timeline.position(4.0)
    weighted(expert.at(4.0), 0).backward()  # on a centre
    assert all(parameter.grad.isfinite().all() for parameter in expert.parameters())
    gradients(expert)
    window = expert.dynamic.window_at(4.0, expert.timeline)
    assert (window == 1).all() if log_width > 0 else window[0] == 1


@pytest.mark.parametrize("interpolation", ["cube", "pchip", "linear"])
def test_ex4dgs_keyframes_without_motion_stay_finite(interpolation: str) -> None:
    expert = ex4dgs(interpolation)
    with torch.no_grad():
        expert.dynamic.means.copy_(expert.dynamic.means[:, :1])
        expert.dynamic.quats.copy_(expert.dynamic.quats[:, :1])
        expert.dynamic.quats[:5, ::2] *= -1  # half-turns of the quaternion sphere
        expert.dynamic.quats[5:8] = 0
    gradients(expert)


@pytest.mark.parametrize("keyframes", [0, 8])
def test_ex4dgs_without_dynamic_gaussians_trains(keyframes: int) -> None:
    expert = new_ex4dgs(30, 0, timeline=KeyframeTimeline(duration=FRAMES))
    expert.dynamic.means = nn.Parameter(torch.zeros(0, keyframes, 3))
    expert.dynamic.quats = nn.Parameter(torch.zeros(0, keyframes, 4))
    before = {name: parameter.detach().clone() for name, parameter in expert.named_parameters()}
    for kind in (torch.optim.RAdam, torch.optim.Adam):
        optimiser = kind(expert.parameters(), lr=1e-2)
        for frame in (0.0, 19.0, 1000.0):
            optimiser.zero_grad()
            weighted(expert.at(frame), 0).backward()
            optimiser.step()
    for name, parameter in expert.named_parameters():
        assert parameter.isfinite().all()
        assert name.startswith("dynamic.") or (parameter != before[name]).any(), name


def test_zero_quaternions_of_stg_stay_finite() -> None:
    part = segment(0, FRAMES, count=30)
    with torch.no_grad():
        part.quats[:10] = 0
        part.omegas[5:15] = 0
        part.trbf_log_widths[:20] = torch.tensor([-300.0, 300.0]).repeat(10)
    gradients(STG(segments=[part]))


def test_4dgaussians_places_learn_through_the_planes() -> None:
    expert = random_model("4DGaussians")
    scales = expert.at(3).scales.sum()  # which hang on the places by the planes alone
    assert (torch.autograd.grad(scales, expert.gaussians.means)[0].abs().sum(1) > 0).all()


def test_e_d3dgs_learns_the_offset_of_the_camera_it_is_given() -> None:
    expert = random_model("E-D3DGS")
    expert.at(3.3, camera=4).means.sum().backward()
    assert expert.deformation.offsets.grad.nonzero().tolist() == [[4, 0]]


@pytest.mark.parametrize("name", ["Ex4DGS cube", "STG sh", *(name for name in OTHERS if name in TRAINABLE)])
@pytest.mark.parametrize("learning", [True, False])
def test_rows_that_come_and_go_are_counted(name: str, learning: bool) -> None:
    expert = MODELS[name]().requires_grad_(learning)
    expert.at(3)
    counts = {"Ex4DGS cube": (30, 40), "STG sh": (30,)}.get(name, (COUNT,))  # rows of Gaussians
    expected = 7 * len(counts)
    for module in expert.modules():
        for parameter, value in list(module.named_parameters(recurse=False)):
            if value.dim() and len(value) in counts:
                setattr(module, parameter, nn.Parameter(value[:7].detach().clone(), requires_grad=learning))
    assert expert.num_gaussians == expert.at(3).count == expert.at(3).scales.shape[0] == expected
    assert expert.rows(3) == slice(0, expected)
