"""Motion masks: a square that crosses a noisy picture."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from experts.freetime.starts.motion_masks import (
    FRAMES,
    ClipMotion,
    MaskedView,
    clip_frames,
    motion_mask,
    reduced_camera,
    reduced_image,
    shares_moving,
    still_image,
)
from tests.experts.freetime.textured_box import HEIGHT, SHIFTS, SMALL, BoxViews, box_at, camera, picture

SIZE, SIDE = 48, 8


def image(frame: int, *, noise: float = 0.004) -> torch.Tensor:
    """A square of 8 px, which begins at column 2 x frame, on a picture whose upper half flickers."""
    background = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    drawn = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1 + frame))
    drawn[:, : SIZE // 2] *= 10
    picture = background + noise * drawn
    picture[:, 30 : 30 + SIDE, 2 * frame : 2 * frame + SIDE] = torch.tensor([0.9, 0.1, 0.4])[:, None, None]
    return picture


def test_what_moves_and_a_margin_around_it():
    still = still_image(torch.stack([image(frame) for frame in range(FRAMES)]))
    assert (still.noise[: SIZE // 2].median() / still.noise[SIZE // 2 :].median()).item() > 5
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    expected[25 : 30 + SIDE + 5, 13 : 18 + SIDE + 5] = True
    mask = motion_mask(image(9), still)
    assert mask[expected].float().mean() > 0.97
    assert not mask[~expected].any()
    tight = motion_mask(image(9), still, dilate=0)
    assert not tight[:30].any() and not tight[30 + SIDE :].any() and tight.sum() > 0.9 * SIDE * SIDE


def test_still_pictures_dark_ones_and_single_pixels_do_not_move():
    still = still_image(torch.stack([image(0)] * FRAMES))
    assert not still.noise.any() and not motion_mask(image(0), still).any()
    speck = image(0)
    speck[:, 10, 10:12] += 0.5
    assert not motion_mask(speck, still).any()
    faint = image(0) + 0.019  # another exposure
    assert not motion_mask(faint, still).any() and motion_mask(image(0) + 0.03, still).all()


def test_frames_are_spread_evenly_over_a_clip():
    assert clip_frames(5) == [0, 1, 2, 3, 4] and clip_frames(1) == [0]
    frames = clip_frames(300)
    assert len(frames) == FRAMES and frames[0] == 9 and frames[-1] == 290
    assert {b - a for a, b in pairwise(frames)} <= {18, 19}


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_reduced_camera_sees_the_reduced_image(factor):
    small = reduced_camera(camera(0.1), factor)
    image = torch.rand(3, HEIGHT, 112)
    reduced = reduced_image(image, factor)
    assert reduced.shape == (3, small.height, small.width)
    assert torch.allclose(reduced[:, 1, 2], image[:, factor : 2 * factor, 2 * factor : 3 * factor].mean((1, 2)))
    assert small.cx * factor == pytest.approx(58) and small.fy * factor == pytest.approx(105)


@pytest.mark.parametrize("factor", [1, 2])
def test_masks_of_a_clip_are_where_the_box_is(factor):
    seen = ClipMotion(BoxViews(), factor=factor).at(7)
    for view, shift in zip(seen, SHIFTS, strict=True):
        _, box = picture(camera(shift), middle=box_at(7), half=SMALL)
        box = reduced_image(box.float()[None], factor)[0] == 1
        assert view.image.shape[1:] == view.mask.shape == (view.camera.height, view.camera.width)
        assert view.moving[box].float().mean() > 0.85
        assert view.moving.sum() < 1.5 * box.sum()  # with pixels that its edges cross
        assert view.mask[box].float().mean() > 0.95 and not (view.moving & ~view.mask).any()
        assert view.mask.sum() < 3 * box.sum()  # with 5 px around it
    with pytest.raises(ValueError, match="motion in 2 frames"):
        ClipMotion(BoxViews(num_frames=2), factor=1)


def test_a_place_moves_where_most_of_the_cameras_that_show_it_say_so():
    left, right = torch.zeros(84, 112, dtype=torch.bool), torch.zeros(84, 112, dtype=torch.bool)
    left[:, :58] = True
    right[:, 58:] = True
    cameras = [camera(0.0)] * 3
    seen = [
        MaskedView(camera=one, image=torch.zeros(3, 84, 112), moving=~mask, mask=mask)
        for one, mask in zip(cameras, (left, left, right), strict=True)
    ]
    places = torch.tensor([[-0.3, 0.0, 2.0], [0.3, 0.0, 2.0], [50.0, 0.0, 2.0], [0.0, 0.0, -2.0]])
    in_masks, moving = shares_moving(places, seen)
    assert torch.allclose(in_masks, torch.tensor([2 / 3, 1 / 3, 0.0, 0.0]))
    assert torch.allclose(moving, torch.tensor([1 / 3, 2 / 3, 0.0, 0.0]))
    assert shares_moving(places[:0], seen)[0].shape == (0,)
