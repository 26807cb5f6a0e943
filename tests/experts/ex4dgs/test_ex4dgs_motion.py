"""Ex4DGS's formulas in time, against values worked out by hand and plain Python."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.ex4dgs.motion import KeyframeTimeline, interpolate, opacity_window, slerp

KEYS = torch.tensor([[[0.0], [1.0], [4.0], [2.0], [2.0]]])  # one Gaussian, five keyframes
unit = st.floats(0.0, 0.999)


def window(c0: float, c1: float, v0: float, v1: float, at: float) -> float:
    return opacity_window(torch.tensor([[c0, c1]]), torch.tensor([[v0, v1]]), at, smallest=0.3).item()


@pytest.mark.parametrize(("interpolation", "shift"), [("cube", 12), ("pchip", 12), ("linear", 2)])
def test_timeline_places_keyframes(interpolation, shift: int) -> None:
    timeline = KeyframeTimeline(duration=300, interval=10, pad=2, interpolation=interpolation)
    assert timeline.shift == shift
    assert timeline.position(-shift) == 0.0
    assert timeline.position(10 * 7 - shift) == 7.0


def test_timeline_covers_the_frames_whose_keyframes_exist() -> None:
    assert KeyframeTimeline(pad=2).frames(36) == (-2, 328)  # N3V: frame 299 reads keyframes 30 to 33
    assert KeyframeTimeline(pad=3).frames(12) == (-3, 87)  # Technicolor: frame 49 reads keyframes 5 to 8
    assert KeyframeTimeline(pad=2, interpolation="linear").frames(36) == (-2, 348)


@pytest.mark.parametrize("kind", ["cube", "pchip", "linear"])
def test_interpolation_passes_through_keyframes(kind) -> None:
    for index in (1, 2):
        assert interpolate(KEYS, float(index), kind).item() == KEYS[0, index, 0].item()


def test_cube_half_way_is_catmull_rom() -> None:
    # (-p0 + 9 p1 + 9 p2 - p3) / 16
    assert interpolate(KEYS, 1.5, "cube").item() == pytest.approx((-0 + 9 * 1 + 9 * 4 - 2) / 16, abs=1e-6)
    assert interpolate(KEYS, 2.5, "cube").item() == pytest.approx((-1 + 9 * 4 + 9 * 2 - 2) / 16, abs=1e-6)


def test_pchip_half_way_has_monotone_tangents() -> None:
    first = 2 * 1 * 3 / (4 - 0)  # slopes 1 and 3 agree; at keyframe 2 they disagree: tangent 0
    assert interpolate(KEYS, 1.5, "pchip").item() == pytest.approx((1 + 4) / 2 + first / 8, abs=1e-6)


def test_linear_half_way() -> None:
    assert interpolate(KEYS, 2.25, "linear").item() == pytest.approx(3.5)


@settings(max_examples=30, deadline=None)
@given(delta=unit, seed=st.integers(0, 99))
def test_pchip_never_leaves_the_interval(delta: float, seed: int) -> None:
    keys = torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(seed)).double()
    value = interpolate(keys, 1 + delta, "pchip")
    low, high = torch.minimum(keys[:, 1], keys[:, 2]), torch.maximum(keys[:, 1], keys[:, 2])
    assert ((value >= low - 1e-9) & (value <= high + 1e-9)).all()


def test_pchip_gradient_is_finite_on_equal_keyframes() -> None:
    keys = torch.ones(2, 4, 3, requires_grad=True)
    interpolate(keys, 1.3, "pchip").sum().backward()
    assert keys.grad.isfinite().all()


def test_slerp_ends_and_middle() -> None:
    first, second = torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[0.0, 0, 0, 3.0]])
    assert torch.allclose(slerp(first, second, 0.0), torch.tensor([[1.0, 0, 0, 0]]), atol=1e-6)
    half = math.sqrt(0.5)
    assert torch.allclose(slerp(first, second, 0.5), torch.tensor([[half, 0, 0, half]]), atol=1e-6)


def test_slerp_takes_the_long_arc() -> None:
    angle = 0.8 * math.pi
    first, second = torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[math.cos(angle), math.sin(angle), 0, 0]])
    expected = torch.tensor([[math.cos(angle / 4), math.sin(angle / 4), 0, 0]])
    assert torch.allclose(slerp(first, second, 0.25), expected, atol=1e-6)


def test_slerp_of_opposite_quaternions_keeps_the_first() -> None:
    first = torch.tensor([[1.0, 0, 0, 0]])
    assert torch.allclose(slerp(first, -first, 0.5), first)


@settings(max_examples=30, deadline=None)
@given(delta=unit, seed=st.integers(0, 99))
def test_slerp_gives_unit_quaternions_between_its_ends(delta: float, seed: int) -> None:
    pair = torch.randn(2, 64, 4, generator=torch.Generator().manual_seed(seed)).double()
    blended = slerp(pair[0], pair[1], delta)
    assert torch.allclose(blended.norm(dim=1), torch.ones(64).double(), atol=1e-9)
    first, second = F.normalize(pair[0], dim=1), F.normalize(pair[1], dim=1)
    arc = (first * second).sum(1).clamp(-1 + 1e-4, 1 - 1e-4).acos()
    assert torch.allclose((first * blended).sum(1), (delta * arc).cos(), atol=2e-2)


def test_opacity_is_full_between_the_centres_in_either_order() -> None:
    assert window(3, 5, -9, -9, 4) == 1.0
    assert window(5, 3, -9, -9, 4) == 1.0


@pytest.mark.parametrize(("c0", "c1"), [(3.0, 5.0), (5.0, 3.0)])
def test_opacity_outside_is_measured_from_the_later_centre(c0: float, c1: float) -> None:
    offset = 0.3 / 2.36
    before = math.exp(-((2.5 - 5) ** 2) / (math.exp(0.5) + offset) ** 2)
    after = math.exp(-((5.5 - 5) ** 2) / (math.exp(-1.0) + offset) ** 2)
    assert window(c0, c1, 0.5, -1.0, 2.5) == pytest.approx(before, rel=1e-5)
    assert window(c0, c1, 0.5, -1.0, 5.5) == pytest.approx(after, rel=1e-5)


def test_opacity_jumps_at_the_earlier_centre() -> None:
    assert window(3, 5, -1, -1, 3 - 1e-3) < 1e-3
    assert window(3, 5, -1, -1, 3 + 1e-3) == 1.0
    assert window(3, 5, -1, -1, 5 + 1e-3) == pytest.approx(1.0, abs=1e-4)


def test_width_that_overflows_means_always_and_keeps_gradients_finite() -> None:
    centres = torch.tensor([[3.0, 5.0]], requires_grad=True)
    widths = torch.tensor([[100.0, 300.0]], requires_grad=True)
    for at in (0.0, 9.0):
        factor = opacity_window(centres, widths, at, smallest=0.3)
        assert factor.item() == 1.0
        factor.sum().backward()
    assert centres.grad.isfinite().all() and widths.grad.isfinite().all()
