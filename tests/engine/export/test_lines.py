"""Experts become splats on lines that show the same within the tolerance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Gaussians, RasterSettings
from moegs_rasterizer.reference.projection import rotations

from engine.errors import ConfigError
from engine.export.following.bells import opacity_bells
from engine.export.following.lines import Tolerance, as_splats
from engine.export.frames import FrameReader, KnownShapes, harmonics_of, quats_of, unit_shapes
from tests.small_world import FRAMES, camera, small_experts

FINE = Tolerance(place=0.1, pixels=0.02, quat=0.04, log_scale=0.01, opacity=0.01, colour=0.01)
COUNT, LENGTH = 20, 12


class Moving:
    """Gaussians on curves, whose opacities rise and fall; half of them turn."""

    name = "Moving"
    background = (1.0, 1.0, 1.0)
    settings = RasterSettings()
    num_gaussians = COUNT

    def __init__(self, *, bells: bool) -> None:
        generator = torch.Generator().manual_seed(1)
        self.start = torch.rand(COUNT, 3, generator=generator) + torch.tensor([-0.5, -0.5, 3.0])
        self.curve = 0.2 * torch.randn(COUNT, 3, generator=generator)
        self.peaks = LENGTH * torch.rand(COUNT, generator=generator)
        self.bells = bells

    def rows(self, frame: float) -> slice:
        return slice(0, COUNT)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        time = frame / LENGTH
        turn = torch.full((COUNT,), time) * (torch.arange(COUNT) % 2)
        steep = (frame - self.peaks) / 3
        shares = (-steep.square() / 2).exp() if self.bells else (steep.abs() < 1).float()
        return Gaussians(
            means=self.start + self.curve * time**2,
            scales=torch.tensor([0.05, 0.1, 0.2]).expand(COUNT, 3),
            quats=torch.stack([turn.cos(), turn.sin(), 0 * turn, 0 * turn], dim=1),
            opacities=0.9 * shares,
            colours=torch.full((COUNT, 3), 0.4),
        )


@pytest.mark.parametrize("bells", [True, False])
def test_every_frame_is_within_the_tolerance(bells: bool) -> None:
    expert = Moving(bells=bells)
    found = as_splats(expert, [camera(1)], num_frames=LENGTH, tolerance=FINE)
    size = 0.1  # the cube root of a volume
    for frame in range(LENGTH):
        gaussians, rows = found.splats.at(frame), found.splats.rows(frame)
        there = torch.nonzero(gaussians.opacities > 0)[:, 0]
        own = found.rows[rows][there]
        assert len(own.unique()) == len(own)  # one piece of a Gaussian at a time
        truth = expert.at(frame)
        assert (truth.opacities[own] - gaussians.opacities[there]).abs().max() < FINE.opacity + 1e-3
        reach = max(FINE.place * size, FINE.pixels * 5 / camera(1).fx)
        assert (truth.means[own] - gaussians.means[there]).abs().max() < reach + 1e-5
        missing = torch.ones(COUNT, dtype=torch.bool).index_fill(0, own, False)
        assert (truth.opacities[missing] < 1 / 255).all()
    assert len(found.rows) < COUNT * LENGTH / 2  # not one piece a frame


def test_a_bell_is_recognised() -> None:
    expert = Moving(bells=True)
    found = opacity_bells(expert, LENGTH)
    assert found.widths.isfinite().all()
    assert torch.allclose(found.times, expert.peaks, atol=0.05) and torch.allclose(
        found.widths, torch.full((COUNT,), 3.0), atol=0.05
    )
    assert not opacity_bells(Moving(bells=False), LENGTH).widths.isfinite().all()


def test_what_stands_still_is_one_splat() -> None:
    expert = small_experts()[0]
    expert.drift.data.fill_(0.5)
    found = as_splats(expert, [camera(1)], num_frames=FRAMES, tolerance=FINE)
    assert len(found.rows) == expert.num_gaussians and not found.splats.velocities.any()
    assert found.splats.windows.tolist() == [[-0.5, FRAMES - 0.5]] * expert.num_gaussians


def test_segments_follow_each_other() -> None:
    expert = small_experts()[1]
    found = as_splats(expert, [camera(1)], num_frames=FRAMES, tolerance=FINE)
    for frame in range(FRAMES):
        gaussians, rows = found.splats.at(frame), found.splats.rows(frame)
        own = found.rows[rows][gaussians.opacities > 0]
        assert sorted(own.tolist()) == list(range(*expert.rows(frame).indices(expert.num_gaussians)))


def test_quaternions_of_any_length_keep_their_covariances() -> None:
    torch.manual_seed(0)
    quats = torch.randn(50, 4)
    quats[0] = 0
    scales = torch.rand(50, 3) + 0.1
    found, turned = unit_shapes(scales, quats)
    assert torch.allclose(turned.norm(dim=1), torch.ones(50))

    def covariances(sizes: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        half = rotations(given) * sizes[:, None]
        return half @ half.transpose(1, 2)

    assert torch.allclose(covariances(scales, quats), covariances(found, turned), atol=1e-4)
    assert torch.allclose(quats_of(rotations(turned)).abs(), turned.abs(), atol=1e-5)


def test_shapes_are_made_again_where_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    quats, scales, decomposed = torch.randn(50, 4), torch.rand(50, 3) + 0.1, []
    svd = torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "svd", lambda given: decomposed.append(len(given)) or svd(given))
    wanted = torch.ones(50, dtype=torch.bool)
    wanted[:5] = False
    known = KnownShapes(50, like=scales)
    known.unit(scales, quats, wanted=wanted)
    quats[10], scales[20] = quats[11], 2 * scales[20]
    wanted[0] = True
    found = known.unit(scales, quats, wanted=wanted)
    assert decomposed == [45, 3]
    for ours, theirs in zip(found, unit_shapes(scales, quats), strict=True):
        assert torch.allclose(ours[wanted], theirs[wanted], atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])  # one slice of rows, and one for each half of the clip
def test_a_reader_gives_the_frames_that_stand_alone(index: int) -> None:
    expert = small_experts()[index]
    kept = torch.arange(expert.num_gaussians) % 3 > 0
    reader = FrameReader(expert, kept=kept)
    for number in range(FRAMES):
        ours, theirs = reader.at(number), FrameReader(expert).at(number)
        shown = ours.opacities > 0
        assert torch.equal(shown, (theirs.opacities > 0) & kept)
        for name in ("means", "quats", "log_scales", "sh", "opacities"):
            assert torch.allclose(getattr(ours, name)[shown], getattr(theirs, name)[shown], atol=1e-6), name


def test_an_expert_of_which_nothing_is_kept_is_refused() -> None:
    expert = small_experts()[0]
    nothing = torch.zeros(expert.num_gaussians, dtype=torch.bool)
    with pytest.raises(ConfigError, match="Ex4DGS: no Gaussian of it is seen in any frame"):
        as_splats(expert, [camera(1)], num_frames=FRAMES, tolerance=FINE, kept=nothing)


def test_colours_that_a_network_makes_are_refused() -> None:
    gaussians = small_experts()[0].at(0)
    assert torch.allclose(0.2820948 * harmonics_of(gaussians, "X")[:, 0] + 0.5, gaussians.colours, atol=1e-6)
    nine = replace(gaussians, colours=torch.zeros(gaussians.count, 9))
    with pytest.raises(ConfigError, match="STG: a network makes its colours of 9 channels at every pixel"):
        harmonics_of(nine, "STG")


def test_a_frame_has_all_rows() -> None:
    expert = small_experts()[1]
    frame = FrameReader(expert).at(0)
    shown = frame.opacities > 0
    assert len(frame.means) == expert.num_gaussians and int(shown.sum()) == expert.num_gaussians // 2
