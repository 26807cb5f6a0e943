"""What the small fits derive from tracked points."""

from __future__ import annotations

import pytest
import torch

from experts.fit.ed3dgs import body_embeddings
from experts.fit.ex4dgs import initial_ex4dgs
from experts.fit.points import SHARPNESS, TrackedPoints, body_log_scales, draw, sample_tracks, take
from experts.fit.stg import initial_stg, polynomials
from tests.experts.small_clip import ARRIVAL, FAR, NEAR, NUM_FRAMES, small_points


def line(count: int, spacing: float, body: int) -> TrackedPoints:
    """Points on a line, standing still."""
    place = torch.arange(count)[:, None] * torch.tensor([spacing, 0.0, 0.0])
    return TrackedPoints(
        tracks=place[:, None].repeat(1, 2, 1),
        colours=torch.zeros(count, 3),
        present=torch.ones(count, 2, dtype=torch.bool),
        bodies=torch.full((count,), body),
    )


def test_scales_come_from_neighbours_on_the_same_body():
    far_apart, close = line(5, 2.0, -1), line(5, 0.1, 3)
    both = TrackedPoints(
        tracks=torch.cat([far_apart.tracks, close.tracks]),
        colours=torch.cat([far_apart.colours, close.colours]),
        present=torch.cat([far_apart.present, close.present]),
        bodies=torch.cat([far_apart.bodies, close.bodies]),
    )
    scales = body_log_scales(both, 0).exp()
    # The middle of a line: neighbours at 1, 1 and 2 spacings, root mean square sqrt(2).
    expected = torch.tensor([2.0, 0.1]) * 2**0.5 * torch.tensor(SHARPNESS).exp()
    assert torch.allclose(scales[[2, 7], 0], expected)


def test_a_draw_is_still_points_then_moving_ones_and_depends_on_the_seed():
    points = small_points()
    chosen = take(points, draw(points, still=50, moving=30, seed=0))
    assert (chosen.bodies[:50] < 0).all() and (chosen.bodies[50:] >= 0).all() and chosen.count == 80
    assert torch.equal(draw(points, still=50, moving=30, seed=0), draw(points, still=50, moving=30, seed=0))
    assert not torch.equal(draw(points, still=50, moving=30, seed=0), draw(points, still=50, moving=30, seed=1))
    assert len(draw(points, still=10_000, moving=10_000, seed=0)) == points.count


def test_tracks_between_and_beyond_frames():
    points = small_points()
    moved = sample_tracks(points, torch.tensor([-2.0, 1.5, NUM_FRAMES + 1.0]))
    step = points.tracks[:, 1] - points.tracks[:, 0]  # every body of the clip moves on a line
    expected = points.tracks[:, 0, None] + torch.tensor([-2.0, 1.5, NUM_FRAMES + 1.0])[:, None] * step[:, None]
    assert torch.allclose(moved, expected, atol=1e-5)


def test_ex4dgs_starts_on_the_tracks_and_shows_what_is_there():
    points = small_points()
    expert = initial_ex4dgs(points, near=NEAR, far=FAR, interval=2.0)
    for frame in range(NUM_FRAMES):
        gaussians, order = expert.at(frame), points.bodies.argsort(stable=True)
        assert torch.allclose(gaussians.means, points.tracks[order, frame], atol=1e-4)
        late = gaussians.opacities[points.bodies[order] == 7]
        assert (late > 0.69).all() if frame >= ARRIVAL else (late < 0.05).all()
        assert torch.allclose(gaussians.opacities[points.bodies[order] == 4], torch.tensor(0.7))


def test_polynomials_go_through_cubic_tracks():
    frames = torch.arange(12, dtype=torch.float64) / 12
    coefficients = torch.randn(20, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centre = 5
    tracks = sum(coefficients[:, k, None] * (frames - centre / 12)[None, :, None] ** k for k in range(4))
    assert torch.allclose(polynomials(tracks.float(), centre, reach=5).double(), coefficients, atol=2e-4)


def test_stg_starts_near_the_tracks_of_what_is_there():
    points = small_points()
    expert = initial_stg(points, near=NEAR, far=FAR, stretch=2, moving=1000)
    segment = expert.parts[0]
    centres = (segment.trbf_centres * NUM_FRAMES).round().long()[300:]
    assert set(centres.tolist()) == {1, 3}
    assert (centres == 1).sum() == 60 and (centres == 3).sum() == 100, "the late body has Gaussians before it came"
    for frame, rows in ((1, slice(300, 360)), (3, slice(360, 460))):
        means = expert.at(frame).means[rows]
        there = points.tracks[300:][points.present[300:, frame], frame]
        distances = torch.cdist(there, means, compute_mode="donot_use_mm_for_euclid_dist")
        assert distances.amin(dim=1).max() < 1e-4


def test_embeddings_tell_bodies_and_places_apart():
    points = small_points()
    embeddings = body_embeddings(points)
    assert torch.pdist(embeddings).min() > 1e-3
    for body in (4, 7):
        codes = embeddings[points.bodies == body, :12]
        assert torch.equal(codes, codes[:1].expand_as(codes))
    assert torch.equal(embeddings, body_embeddings(points))


@pytest.mark.parametrize("frame", [0, NUM_FRAMES - 1])
def test_small_clips_bodies_move(frame: int):
    points = small_points()
    moved = (points.tracks[:, frame] - points.tracks[:, 2]).norm(dim=1)
    assert (moved[points.bodies < 0] == 0).all() and (moved[points.bodies >= 0] > 0.1).all()
