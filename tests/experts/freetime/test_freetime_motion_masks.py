"""Motion masks: a square that crosses a noisy picture."""

from __future__ import annotations

from itertools import pairwise

import torch

from experts.freetime.motion_masks import FRAMES, clip_frames, motion_mask, still_image

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
