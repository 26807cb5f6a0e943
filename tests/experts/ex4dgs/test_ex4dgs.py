"""Ex4DGS as an expert: what it gives at a frame, in which units, with which gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Layer, rasterize

from experts.base import Expert
from experts.ex4dgs.model import DynamicGaussians, Ex4DGS, StaticGaussians
from experts.ex4dgs.motion import KeyframeTimeline
from experts.formats.harmonics import split_sh

KEYFRAMES = 8


def model(statics: int = 3, dynamics: int = 2, **changes) -> Ex4DGS:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    static = StaticGaussians(
        means=normal(statics, 3) + torch.tensor([0.0, 0, 5]),
        displacements=normal(statics, 3),
        log_scales=normal(statics, 3) - 1,
        quats=2 * normal(statics, 4),
        opacity_logits=normal(statics),
        **split_sh(0.3 * normal(statics, 16, 3)),
    )
    dynamic = DynamicGaussians(
        means=normal(dynamics, KEYFRAMES, 3) + torch.tensor([0.0, 0, 5]),
        quats=normal(dynamics, KEYFRAMES, 4),
        log_scales=normal(dynamics, 3) - 1,
        opacity_logits=normal(dynamics),
        opacity_centres=normal(dynamics, 2) + 3,
        opacity_log_widths=normal(dynamics, 2) + 10,
        **split_sh(0.3 * normal(dynamics, 16, 3)),
    )
    options = {"timeline": KeyframeTimeline(duration=40), "near": 0.5, "far": 30.0} | changes
    return Ex4DGS(static=static, dynamic=dynamic, **options)


def test_is_an_expert_with_its_own_convention() -> None:
    expert = model()
    assert isinstance(expert, Expert)
    assert expert.background == (1.0, 1.0, 1.0) and expert.num_gaussians == 5
    settings = expert.settings
    assert (settings.low_pass, settings.compensate, settings.near, settings.far) == (0.1, True, 0.5, 30.0)
    assert settings.ndc_limit == 1.3
    assert expert.rows(17.5) == slice(0, 5)


def test_static_gaussians_come_first_and_drift_linearly() -> None:
    expert = model()
    drift = expert.at(20.0).means[:3] - expert.at(0.0).means[:3]
    assert torch.allclose(drift, expert.static.displacements / 2, atol=1e-6)
    assert torch.equal(expert.at(20.0).quats[:3], expert.static.quats)
    assert torch.allclose(expert.at(7).quats[3:].norm(dim=1), torch.ones(2))
    assert torch.equal(expert.at(3).sh[3:], torch.cat([expert.dynamic.sh_dc, expert.dynamic.sh_rest], dim=1))


def test_frame_on_a_keyframe_gives_that_keyframe() -> None:
    expert = model()
    assert torch.allclose(expert.at(18).means[3:], expert.dynamic.means[:, 3], atol=1e-6)


def test_frames_that_the_keyframes_do_not_cover_are_refused() -> None:
    expert = model()
    assert expert.frames == (-2, 48)
    expert.at(-2), expert.at(47.999)
    for frame in (-2.01, 48, 300):
        with pytest.raises(ValueError, match="lies outside -2 to 48"):
            expert.at(frame)


def test_no_dynamic_gaussians_is_a_model_too() -> None:
    expert = model(dynamics=0)
    assert expert.at(1000).count == expert.num_gaussians == 3


def test_world_scale_gives_data_units() -> None:
    small, large = model(), model(world_scale=4.0)
    assert torch.allclose(large.at(5).means, 4 * small.at(5).means)
    assert torch.allclose(large.at(5).scales, 4 * small.at(5).scales)
    assert (large.settings.near, large.settings.far) == (2.0, 120.0)


def test_world_scale_keeps_the_image() -> None:
    small, large = model(40, 20), model(40, 20, world_scale=4.0)
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([0.1, -0.2, 0.3])
    far_pose = pose.clone()
    far_pose[:3, 3] *= 4
    camera = Camera(world_to_camera=pose, fx=40.0, fy=40.0, cx=16.0, cy=12.0, width=32, height=24)
    images = []
    for expert, view in ((small, camera), (large, replace(camera, world_to_camera=far_pose))):
        background = torch.tensor(expert.background)
        layer = Layer(gaussians=expert.at(5), settings=expert.settings, background=background)
        splat = rasterize([layer], view, backend="torch")[0]
        images.append(expert.colour(splat, view, frame=5))
    assert images[0].std() > 0.05
    assert torch.allclose(images[0], images[1], atol=1e-5)


def test_gradients_reach_every_parameter() -> None:
    expert = model()
    gaussians = expert.at(13.7)
    total = sum((value * value).sum() for value in (gaussians.means, gaussians.scales, gaussians.quats[:3]))
    total = total + gaussians.quats[3:].sum() + gaussians.opacities.sum() + gaussians.sh.sum()
    total.backward()
    for name, parameter in expert.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert name.startswith("dynamic.opacity_") or parameter.grad.abs().sum() > 0, name


def test_double_precision_agrees_with_single() -> None:
    expert = model()
    single = expert.at(13.7)
    double = expert.double().at(13.7)
    assert double.means.dtype == torch.float64
    assert torch.allclose(single.means.double(), double.means, atol=1e-6)
    assert torch.allclose(single.opacities.double(), double.opacities, atol=1e-6)
