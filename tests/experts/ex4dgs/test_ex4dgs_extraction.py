"""Static Gaussians that become dynamic, their keyframes, and the multiplication of dynamic ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from common.maths.geometry import turned
from experts.ex4dgs.density import clone_dynamic, split_dynamic
from experts.ex4dgs.errors import BacktrackedErrors
from experts.ex4dgs.extraction import (
    extract,
    first_windows,
    moving_most,
    path_at_keyframes,
    stretched_path,
)
from experts.ex4dgs.motion import KeyframeTimeline
from experts.ex4dgs.presets import EX4DGS_N3V
from experts.ex4dgs.start import start_model
from experts.training.gaussians.population import Population
from experts.training.recipes.presets import Planes
from experts.training.start import StartPoints, TrainingStart
from tests.experts.training.small_views import small_views

STATIC = ("means", "displacements", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest")
DYNAMIC = (
    *("means", "quats", "log_scales", "opacity_logits", "opacity_centres", "opacity_log_widths"),
    *("sh_dc", "sh_rest"),
)


def moving_model(count=20):
    generator = torch.Generator().manual_seed(3)
    points = StartPoints(
        positions=torch.randn(count, 3, generator=generator), colours=torch.rand(count, 3, generator=generator)
    )
    start = TrainingStart(points=points, views=small_views(), extent=1.0, planes=Planes(near=0.1, far=10.0))
    model = start_model(EX4DGS_N3V, start)
    model.static.displacements.data = torch.randn(count, 3, generator=generator)
    return model


def populations(model):
    static = Population({name: (model.static, name) for name in STATIC})
    dynamic = Population({name: (model.dynamic, name) for name in DYNAMIC})
    device = torch.device("cpu")
    return (static, BacktrackedErrors(static.count, device)), (dynamic, BacktrackedErrors(0, device))


def test_the_published_path_is_two_ends_spread_over_all_keyframes():
    rows = {"means": torch.randn(4, 3), "displacements": torch.randn(4, 3)}
    start, end = (rows["means"] + share * rows["displacements"] for share in (-10 / 30, 1 + 10 / 30))
    ends = torch.stack([start, end], dim=2)
    expected = F.interpolate(ends, size=9, mode="linear", align_corners=False).transpose(1, 2)
    torch.testing.assert_close(stretched_path(rows, 9, KeyframeTimeline(), 30), expected)


def test_a_path_at_the_keyframes_moves_as_the_static_gaussian_did():
    model = moving_model()
    before = [model.at(frame).means.detach() for frame in (0, 4, 9)]
    static, dynamic = populations(model)
    chosen = torch.arange(20) % 2 == 0
    extract(static, dynamic, chosen, model.timeline, frames=10, along_path=True)
    assert model.static.means.shape == (10, 3) and model.dynamic.means.shape == (10, 7, 3)  # (10 + 24 + 1) / 10 + 3
    for frame, means in zip((0, 4, 9), before, strict=True):
        torch.testing.assert_close(model.at(frame).means, torch.cat([means[~chosen], means[chosen]]))
    rows = {"means": torch.zeros(1, 3), "displacements": torch.ones(1, 3)}
    shares = path_at_keyframes(rows, 3, KeyframeTimeline(duration=20), 20)[0, :, 0]
    torch.testing.assert_close(shares, torch.tensor([-0.6, -0.1, 0.4]))  # frames -12, -2, 8 of 20


def test_later_extractions_have_as_many_keyframes_and_statistics_follow():
    model = moving_model()
    static, dynamic = populations(model)
    for step, count in enumerate((3, 2), 1):
        extract(
            static, dynamic, torch.arange(static[0].count) < count, model.timeline, frames=10 * step, along_path=True
        )
    assert model.dynamic.means.shape == (5, 7, 3) and model.static.means.shape == (15, 3)
    assert static[1].gradients.shape == (15,) and dynamic[1].rows["best_frame"].shape == (5,)


def test_first_windows_lie_on_both_sides_of_the_best_frame():
    best = torch.tensor([0.0, 8.0, 29.0])
    made = first_windows(best, KeyframeTimeline(), 30)
    expected = torch.tensor([[1.3, 2.7], [1.6, 3.1], [2.65, 4.1]])  # (t / 2 + 12) / 10, ((30 + t) / 2 + 12) / 10
    torch.testing.assert_close(made["opacity_centres"], expected)  # from (12 + 1) / 10 to (12 + 29) / 10
    assert made["opacity_log_widths"].tolist() == [[2.0, 32.0], [10.0, 24.0], [31.0, 3.0]]


def test_what_moves_most_near_the_viewpoint_is_chosen_where_it_was_seen():
    model = moving_model()
    (static, errors), _ = populations(model)
    visible = torch.arange(20) < 15
    errors.rows["best_frame"][:] = 1.0
    viewpoint, chosen = torch.tensor([0.0, 0.0, -4.0]), {}
    scores = model.static.displacements.norm(dim=1) / (model.static.means - viewpoint).square().sum(1)
    order = scores[:15].argsort(descending=True)

    def choose():
        return moving_most(static, errors, visible, viewpoint, extent=1.0, percentile=0.8)

    chosen = choose()
    assert sorted(order[:3].tolist()) == chosen.nonzero().flatten().tolist()  # 20 % of 15
    errors.rows["best_frame"][order[0]] = -1.0
    model.static.displacements.data[order[1]] = 0.0
    assert not choose()[order[0]] and not choose()[order[1]]
    visible[:] = False
    assert not choose().any()


def dynamic_rows(count=400, keyframes=8):
    return {
        "means": torch.randn(count, keyframes, 3),
        "quats": torch.randn(count, keyframes, 4),
        "log_scales": torch.tensor([-1.0, -2.0, -3.0]).repeat(count, 1),
        "opacity_logits": torch.randn(count),
        "opacity_centres": torch.tensor([[2.0, 3.2]]).repeat(count, 1),
        "opacity_log_widths": torch.full((count, 2), 20.0),
        "sh_dc": torch.randn(count, 1, 3),
        "sh_rest": torch.randn(count, 15, 3),
    }


def test_clones_of_dynamic_gaussians_have_other_windows_within_the_clip():
    rows, timeline = dynamic_rows(), KeyframeTimeline(duration=31)
    clones = clone_dynamic(rows, torch.Generator().manual_seed(0), timeline)
    changed = {"opacity_centres", "opacity_log_widths"}
    assert all(torch.equal(clones[name], rows[name]) for name in rows.keys() - changed)
    assert (clones["opacity_log_widths"] == 2).all()
    centres = clones["opacity_centres"]
    assert centres.min() >= 1.3 - 1e-6 and centres.max() <= 4.2 + 1e-6  # (12 + 1) / 10, (12 + 30) / 10
    assert (centres - rows["opacity_centres"]).std(0) == pytest.approx(0.4, abs=0.05)  # 1.2 / 3 keyframes; 0.38 seen


def test_children_of_dynamic_gaussians_keep_their_offset_in_the_turning_frame():
    rows, timeline = dynamic_rows(), KeyframeTimeline(duration=31)
    children = split_dynamic(rows, torch.Generator().manual_seed(0), timeline)
    assert children["means"].shape == (800, 8, 3)
    torch.testing.assert_close(children["log_scales"], rows["log_scales"].repeat(2, 1) - torch.tensor(1.6).log())
    offsets = children["means"] - rows["means"].repeat(2, 1, 1)
    backward = rows["quats"].repeat(2, 1, 1) * torch.tensor([1.0, -1.0, -1.0, -1.0])
    local = turned(offsets.reshape(-1, 3), backward.reshape(-1, 4)).view(800, 8, 3)
    torch.testing.assert_close(local, local[:, :1].expand_as(local), atol=1e-4, rtol=1e-4)
    deviations = local[:, 0].std(0) / rows["log_scales"][0].exp()
    torch.testing.assert_close(deviations, torch.full((3,), 2.0), atol=0.2, rtol=0)  # 0.07 seen
