"""E-D3DGS's formulas against direct evaluations, its schedules, and initial models."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate

from experts.base import Expert
from experts.ed3dgs import deformation
from experts.ed3dgs.deformation import ED3DGSDeformation, plain_residuals
from experts.ed3dgs.deformation_fused import fused_residuals
from experts.ed3dgs.model import ED3DGS
from experts.ed3dgs.recipe import N3V_OPTIONS, TECHNICOLOR_OPTIONS, ED3DGSRecipe
from experts.ed3dgs.start import start_model
from experts.ed3dgs.temporal import plain_temporal_embeddings
from experts.training.gaussians.initial import neighbour_log_scales
from experts.training.start import StartPoints, TrainingStart
from tests.experts.canonical_models import new_ed3dgs
from tests.plain_and_fused import assert_same, results


def small(count: int = 50, **changes: object) -> ED3DGS:
    """A model whose every tensor matters: nothing is zero, offsets included."""
    generator = torch.Generator().manual_seed(1)
    expert = new_ed3dgs(
        torch.randn(count, 3, generator=generator),
        torch.rand(count, 3, generator=generator),
        num_frames=20,
        iteration=8000,
        options=replace(N3V_OPTIONS, min_embeddings=6, **changes),
        max_embeddings=15,
        cameras=4,
    )
    for parameter in expert.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return expert


def looked_up(table: Tensor, time: float, rows: int) -> Tensor:
    """The original's way: two resamplings by torch, in float64."""
    resampled = interpolate(
        table[None, None].double(), size=(rows, table.shape[1]), mode="bilinear", align_corners=True
    )
    columns = torch.linspace(-1, 1, table.shape[1], dtype=torch.float64)
    places = torch.stack([columns, torch.full_like(columns, 2 * time - 1)], dim=1)[None, None]
    return grid_sample(resampled, places, mode="bilinear", padding_mode="reflection", align_corners=True).flatten()


def test_offset_of_a_camera_and_of_none() -> None:
    deformation = small().deformation
    deformation.offsets.data = torch.tensor([[0.0], [0.25], [-0.75], [0.0]])
    assert deformation.offset(2).item() == -0.75
    assert deformation.offset(0).item() == 0.0
    assert deformation.offset(None).item() == -0.25  # of the two that are not zero
    deformation.offsets.data.zero_()
    assert deformation.offset(None).item() == 0.0
    with pytest.raises(ValueError, match=r"camera 4 .* 0 \.\.\. 3"):
        deformation.offset(4)


def test_rows_follow_coarse_to_fine() -> None:
    with torch.device("meta"):
        n3v = ED3DGSDeformation(N3V_OPTIONS)
        technicolor = ED3DGSDeformation(TECHNICOLOR_OPTIONS, max_embeddings=25)
        free = ED3DGSDeformation(replace(N3V_OPTIONS, use_coarse_temporal_embedding=False))
    assert [n3v.rows("f", n) for n in (0, 2500, 4999, 10000, 80000)] == [30, 60, 89, 150, 150]
    assert [n3v.rows("c", n) for n in (0, 80000)] == [30, 30]
    assert [technicolor.rows(stage, 0) for stage in "cf"] == [5, 25]
    assert [free.rows("c", n) for n in (0, 80000)] == [30, 150]


def direct(expert: ED3DGS, time: float, *, anneal: tuple[float, float] = (1.0, 1.0)) -> dict[str, Tensor]:
    """The specification, step by step in float64: one input [temporal, embedding] per Gaussian, one head at a time."""
    network, raw = expert.deformation.double(), {k: v.double() for k, v in expert.gaussians.raw().items()}
    keys = {"pos": "means", "scales": "log_scales", "rotations": "quats", "opacity": "opacity_logits", "rgb": "sh"}
    for stage in network.options.stages():
        temporal = looked_up(network.weight, time, network.rows(stage, expert.iteration))
        inputs = torch.cat([temporal.expand(expert.num_gaussians, -1), expert.embeddings.double()], dim=1)
        hidden = network.get_submodule(f"feature_out_{stage}")(inputs)
        for name, key in keys.items():
            if network.options.enabled()[key]:
                factor = anneal[0] if key in ("means", "quats") else anneal[1]
                raw[key] = raw[key] + factor * network.get_submodule(f"{name}_deform_{stage}")(hidden)
    network.float()
    return raw


def compare(expert: ED3DGS, frame: float, camera: int | None, raw: dict[str, Tensor]) -> None:
    found = expert.at(frame, camera=camera)
    quats = raw["quats"] / raw["quats"].norm(dim=1, keepdim=True)
    for ours, theirs in (
        (found.means, raw["means"]),
        (found.scales, raw["log_scales"].exp()),
        (found.quats, quats),
        (found.opacities, raw["opacity_logits"].sigmoid()[:, 0]),
        (found.sh, raw["sh"].reshape(-1, 16, 3)),
    ):
        error = (ours.double() - theirs).abs().max() / theirs.abs().max()
        assert error < 2e-6, error


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"no_ds": True, "no_dr": True},
        {"no_do": True, "no_dc": True},
        {"no_coarse_deform": True},
        {"no_fine_deform": True},
        {"no_coarse_deform": True, "no_fine_deform": True},
        {"use_coarse_temporal_embedding": False, "no_c2f_temporal_embedding": True},
    ],
)
def test_model_is_the_specification_under_every_switch(changes: dict[str, object]) -> None:
    expert = small(**changes)
    offset = expert.deformation.offsets[1].item()
    compare(expert, 7, 1, direct(expert, 7 / 20 + offset))


@torch.no_grad()
def test_annealing_holds_residuals_back() -> None:
    expert = small(deform_from_iter=400)
    expert.iteration = 700
    compare(expert, 3, None, direct(expert, 3 / 20 + expert.deformation.offset(None).item(), anneal=(0.7, 0.3)))
    expert.deformation.options = replace(expert.deformation.options, use_anneal=False)
    compare(expert, 3, None, direct(expert, 3 / 20 + expert.deformation.offset(None).item()))


@torch.no_grad()
def test_deeper_trunks() -> None:
    expert = small()
    torch.manual_seed(0)
    expert.deformation = ED3DGSDeformation(expert.deformation.options, max_embeddings=15, cameras=4, depth=3)
    expert.deformation.weight.data = torch.randn(15, 256)
    compare(expert, 11, 0, direct(expert, 11 / 20))


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("stages", ["f", "cf"])
@pytest.mark.parametrize("depth", [1, 3])
def test_fused_residuals_are_the_plain_ones(count: int, stages: str, depth: int) -> None:
    torch.manual_seed(0)
    network = ED3DGSDeformation(N3V_OPTIONS, width=16, depth=depth, temporal_width=12, embedding_width=8).double()
    embeddings, temporal = torch.randn(count, 8).double(), torch.randn(len(stages), 12).double()
    trunks = [network.get_submodule(f"feature_out_{stage}") for stage in stages]
    names = ("pos_deform", "opacity_deform", "rgb_deform")
    heads = [[network.get_submodule(f"{name}_{stage}") for name in names] for stage in stages]
    modules = nn.ModuleList([*trunks, *(own for by_stage in heads for own in by_stage)])
    inputs = embeddings.requires_grad_(), temporal.requires_grad_()
    plain, fused = (partial(which, *inputs, trunks, heads) for which in (plain_residuals, fused_residuals))
    assert_same(plain, fused, [*inputs, *modules.parameters()], atol=1e-12)


@pytest.mark.parametrize("changes", [{}, {"no_ds": True}, {"no_coarse_deform": True}])
def test_the_plain_parts_make_the_same_model(changes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    expert = small(**changes).double()
    used = [
        parameter
        for name, parameter in expert.named_parameters()
        if not ("scales_deform" in name and "no_ds" in changes)
        and not ("_c." in name and "no_coarse_deform" in changes)
    ]
    fused = results(lambda: _values(expert), used)
    monkeypatch.setattr(deformation, "fused_residuals", plain_residuals)
    monkeypatch.setattr(deformation, "fused_temporal_embeddings", plain_temporal_embeddings)
    for ours, theirs in zip(fused, results(lambda: _values(expert), used), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


def test_gradients_reach_every_parameter_and_are_right() -> None:
    expert = small(6).double()
    weights = [torch.randn_like(value) for value in _values(expert)]

    def loss() -> Tensor:
        return sum(
            ((value * weight).sum() for value, weight in zip(_values(expert), weights, strict=True)), torch.tensor(0.0)
        )

    loss().backward()
    for name, parameter in expert.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        if "deform_" in name and "rgb_deform_c" not in name:
            continue  # built like the head that is compared
        index = int(parameter.grad.abs().flatten().argmax())
        with torch.no_grad():
            flat, step = parameter.view(-1), 1e-6
            flat[index] += step
            above = loss()
            flat[index] -= 2 * step
            below = loss()
            flat[index] += step
        expected = float(above - below) / (2 * step)
        assert float(parameter.grad.flatten()[index]) == pytest.approx(expected, rel=1e-4, abs=1e-6), name


def _values(expert: ED3DGS) -> list[Tensor]:
    found = expert.at(6.4, camera=1)
    assert found.sh is not None
    return [found.means, found.scales, found.quats, found.opacities, found.sh]


def test_new_model_starts_like_3dgs() -> None:
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3], [1000, 0, 0]])
    colours = torch.rand(5, 3)
    views = SimpleNamespace(num_frames=10, numbers=[0])
    start = TrainingStart(points=StartPoints(positions=points, colours=colours), views=views, extent=7.0)
    expert = start_model(ED3DGSRecipe(scale_free=False), start)
    assert isinstance(expert, Expert) and expert.rows(3) == slice(0, 5) and expert.num_gaussians == 5
    first = expert.gaussians.log_scales[0].exp()
    torch.testing.assert_close(first, torch.full((3,), (14 / 3) ** 0.5).clamp(max=2.7182817))
    assert expert.gaussians.log_scales.max() == 1.0
    found = expert.at(0)  # annealed away at iteration 0
    torch.testing.assert_close(found.opacities, torch.full((5,), 0.1))
    torch.testing.assert_close(0.5 + 0.28209479 * found.sh[:, 0], colours)
    assert torch.equal(found.means, points)


def test_neighbour_scales_of_few_and_equal_points() -> None:
    assert torch.equal(neighbour_log_scales(torch.zeros(1, 3)), torch.zeros(1, 3))
    torch.testing.assert_close(neighbour_log_scales(torch.ones(4, 3)).exp(), torch.full((4, 3), 1e-7**0.5))
    pair = neighbour_log_scales(torch.tensor([[100.0, 0, 0], [100.01, 0, 0]]))
    torch.testing.assert_close(pair.exp(), torch.full((2, 3), 0.01), rtol=1e-3, atol=0)
