"""STG as an expert: formulas, segments, colour variants, zero quaternions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Layer, Splat, camera_rays, rasterize

from experts.base import Expert
from experts.formats.harmonics import split_sh
from experts.stg.decoder import SandwichDecoder
from experts.stg.model import STG, STGSegment

SHAPES = {"means": 3, "motion": 9, "quats": 4, "omegas": 4, "log_scales": 3}
CAMERA = Camera(world_to_camera=torch.eye(4), fx=20.0, fy=20.0, cx=8.0, cy=6.0, width=16, height=12)


def segment(first: int = 0, num_frames: int = 10, *, count: int = 5, kind: str = "sh", seed: int = 0) -> STGSegment:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator)

    tensors = {name: normal(width) for name, width in SHAPES.items()}
    tensors["means"] += torch.tensor([0.0, 0, 4])
    tensors |= {name: normal() for name in ("opacity_logits", "trbf_centres", "trbf_log_widths")}
    if kind == "sh":
        return STGSegment(first=first, num_frames=num_frames, **split_sh(0.3 * normal(16, 3)), **tensors)
    if kind == "lite":
        return STGSegment(first=first, num_frames=num_frames, features=normal(3), **tensors)
    shapes_of = {"mlp1": (6, 12, 1, 1), "mlp2": (3, 6, 1, 1)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes_of.items()}
    full = {"features": normal(6), "time_features": normal(3), "decoder": SandwichDecoder(**weights)}
    return STGSegment(first=first, num_frames=num_frames, **full, **tensors)


def three_segments(kind: str = "sh") -> STG:
    lengths, first, segments = (10, 4, 7), 0, []
    for index, length in enumerate(lengths):
        segments.append(segment(first, length, count=index + 2, kind=kind, seed=index))
        first += length
    return STG(segments=segments)


def test_formulas_at_a_time() -> None:
    part = segment()
    gaussians = STG(segments=[part]).at(3)
    offset = 0.3 - part.trbf_centres[1].item()
    motion = part.motion[1]
    mean = part.means[1] + motion[:3] * offset + motion[3:6] * offset**2 + motion[6:] * offset**3
    assert torch.allclose(gaussians.means[1], mean, atol=1e-6)
    quat = part.quats[1] + offset * part.omegas[1]
    assert torch.allclose(gaussians.quats[1], quat / quat.norm(), atol=1e-6)
    window = math.exp(-((offset / math.exp(part.trbf_log_widths[1].item())) ** 2))
    assert gaussians.opacities[1].item() == pytest.approx(window * part.opacity_logits[1].sigmoid().item(), rel=1e-5)
    assert torch.equal(gaussians.scales, part.log_scales.exp())


@pytest.mark.parametrize("kind", ["sh", "full", "lite"])
def test_variants_follow_their_own_convention(kind: str) -> None:
    expert = three_segments(kind)
    assert isinstance(expert, Expert)
    settings = expert.settings
    if kind == "sh":
        assert (settings.low_pass, settings.compensate, settings.ndc_limit) == (0.1, True, 1.3)
        assert (settings.near, settings.far, settings.depth) == (0.2, 300.0, "mean")
        assert expert.at(0).sh is not None and expert.background == (0.0,) * 3
    else:
        assert (settings.low_pass, settings.compensate, settings.ndc_limit) == (0.3, False, None)
        assert (settings.near, settings.far, settings.depth) == (0.2, None, "median")
        assert (
            expert.at(0).sh is None
            and len(expert.background) == expert.at(0).colour_channels == {"full": 9, "lite": 3}[kind]
        )


def test_each_frame_is_shown_by_its_segment() -> None:
    expert = three_segments()
    assert (expert.num_frames, expert.num_gaussians) == (21, 9)
    rows = [expert.rows(frame) for frame in (0, 9, 10, 13, 14, 20)]
    assert rows == [slice(0, 2), slice(0, 2), slice(2, 5), slice(2, 5), slice(5, 9), slice(5, 9)]
    for frame in range(21):
        assert expert.at(frame).count == expert.rows(frame).stop - expert.rows(frame).start


def test_a_fraction_between_segments_belongs_to_the_earlier_one() -> None:
    expert = three_segments()
    assert expert.rows(9.75) == slice(0, 2)
    part = expert.parts[0]
    assert torch.allclose(expert.at(9.75).means, part(9.75).means)
    assert expert.rows(20.5) == slice(5, 9)


@pytest.mark.parametrize("frame", [-0.5, 21, 300])
def test_frames_outside_all_segments_are_refused(frame: float) -> None:
    with pytest.raises(ValueError, match="lies outside 0 to 20"):
        three_segments().at(frame)


def test_time_restarts_in_every_segment() -> None:
    late, early = segment(10, 4), segment(0, 4)
    assert torch.equal(late(12).means, early(2).means)


def test_zero_quaternions_mean_no_rotation_and_keep_gradients_finite() -> None:
    part = segment()
    with torch.no_grad():
        part.quats[:2] = 0
        part.omegas[:2] = 0
        part.quats[2:] = torch.tensor([1.0, 0, 0, 0])
        part.omegas[2:] = 0
    expert = STG(segments=[part])
    gaussians = expert.at(4)
    assert torch.equal(gaussians.quats[:2], torch.zeros(2, 4))
    identity = replace(gaussians, quats=torch.tensor([1.0, 0, 0, 0]).repeat(5, 1))
    background = torch.zeros(3)
    splats = [
        rasterize(
            [Layer(gaussians=g, settings=expert.settings, background=background)], CAMERA, backend="torch", grad="full"
        )[0]
        for g in (gaussians, identity)
    ]
    assert splats[0].colour.sum() > 1
    assert torch.equal(splats[0].colour, splats[1].colour)
    splats[0].colour.sum().backward()
    for name, parameter in part.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_the_windows_centre_learns_through_the_opacity_alone() -> None:
    part = segment()
    part(3).means.sum().backward()
    assert part.trbf_centres.grad is None and part.motion.grad is not None
    part(3).opacities.sum().backward()
    assert part.trbf_centres.grad.abs().sum() > 0


@pytest.mark.parametrize("width", [-200.0, 200.0])
def test_extreme_widths_stay_finite(width: float) -> None:
    part = segment()
    with torch.no_grad():
        part.trbf_log_widths.fill_(width)
        part.trbf_centres[0] = 0.3
    opacities = part(3).opacities
    opacities.sum().backward()
    assert opacities[0] == part.opacity_logits[0].sigmoid()
    assert (opacities[1:] == 0).all() if width < 0 else torch.equal(opacities, part.opacity_logits.sigmoid())
    assert part.trbf_log_widths.grad.isfinite().all() and part.trbf_centres.grad.isfinite().all()


def splat_of(colour: torch.Tensor) -> Splat:
    empty = torch.zeros(0)
    image = torch.zeros(colour.shape[1:])
    return Splat(colour=colour, features=None, alpha=image, depth=image, radii=empty.int(), means2d=empty.reshape(0, 2))


@pytest.mark.parametrize("kind", ["sh", "lite"])
def test_colour_is_the_splat_where_nothing_is_decoded(kind: str) -> None:
    colour = torch.rand(3, 12, 16)
    assert three_segments(kind).colour(splat_of(colour), CAMERA, frame=2) is colour


@pytest.mark.parametrize("output", ["sigmoid", "clamp", "none"])
def test_decoder_is_a_network_of_one_pixel(output) -> None:
    features = 2 * torch.randn(9, 12, 16)
    part = segment(kind="full")
    part.decoder.output = output
    image = STG(segments=[part]).colour(splat_of(features), CAMERA, frame=0)
    x = torch.cat([features[3:, 7, 2], camera_rays(CAMERA)[:, 7, 2]])
    first, second = part.decoder.mlp1.weight[:, :, 0, 0], part.decoder.mlp2.weight[:, :, 0, 0]
    expected = features[:3, 7, 2] + second @ (first @ x).relu()
    expected = {"sigmoid": expected.sigmoid(), "clamp": expected.clamp(0, 1), "none": expected}[output]
    assert torch.allclose(image[:, 7, 2], expected, atol=1e-5)


def test_each_full_segment_decodes_with_its_own_network() -> None:
    expert, splat = three_segments("full"), splat_of(torch.rand(9, 12, 16))
    first, second = (expert.colour(splat, CAMERA, frame=frame) for frame in (2, 12))
    for image, part in ((first, expert.parts[0]), (second, expert.parts[1])):
        assert torch.equal(image, part.decoder(splat.colour, camera_rays(CAMERA)))
    assert not torch.allclose(first, second)


def test_kinds_cannot_be_mixed() -> None:
    with pytest.raises(ValueError, match="all of one kind"):
        STG(segments=[segment(0, 5), segment(5, 5, kind="lite")])
    with pytest.raises(ValueError, match="one segment or more"):
        STG(segments=[])
    tensors = dict(segment(kind="full").named_parameters(recurse=False))
    with pytest.raises(ValueError, match="give sh_dc and sh_rest, or features"):
        STGSegment(first=0, num_frames=5, **tensors)
