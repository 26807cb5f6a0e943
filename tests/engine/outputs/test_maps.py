from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from engine.outputs.colours import expert_colours, scale
from engine.outputs.frame_images import FrameImages, frame_images, range_of
from engine.outputs.grid import WIDEST, grid_of
from engine.outputs.maps import depth_map, error_map, text_box, winner_legend, winner_map, with_box
from router import Mixture

H, W = 200, 300
EXPERTS = ("Ex4DGS", "STG")


def flat(level: int) -> np.ndarray:
    return np.full((H, W, 3), level, dtype=np.uint8)


def frame(**changes: np.ndarray | None) -> FrameImages:
    """Mixture of level 100 on truth 100, experts of 50 and 150; the second has the largest gate on the right."""
    winner = np.zeros((H, W), dtype=np.uint8)
    winner[:, W // 2 :] = 1
    fields = {"image": flat(100), "truth": flat(100), "winner": winner, **changes}
    return FrameImages(experts=(flat(50), flat(150)), gates=(winner, winner), **fields)


@pytest.mark.parametrize(("error", "index"), [((0, 0, 0), 0), ((6, 0, 0), 8), ((30, 30, 30), 120), ((64, 64, 64), 255)])
def test_an_error_has_its_colour_on_a_fixed_scale(error, index):
    """The scale ends at a mean error of a quarter: 255 x 0.25 levels have index 255."""
    for sign in (1, -1):
        drawn = error_map(frame(truth=(flat(100) + sign * np.array(error)).astype(np.uint8)))
        assert drawn[0, 0].tolist() == scale()[index].tolist()
        assert drawn[H // 2, W - 1].tolist() == scale()[index].tolist()


def test_the_largest_gate_has_its_experts_colour():
    drawn = winner_map(frame(), EXPERTS)
    assert drawn[0, 0].tolist() == [0, 114, 178] == expert_colours(2)[0].tolist()
    assert drawn[0, -1].tolist() == [230, 159, 0] == expert_colours(2)[1].tolist()
    legend = drawn[-30:, :20].reshape(-1, 3).tolist()
    assert [0, 114, 178] in legend and [230, 159, 0] in legend, "the legend's squares lie in the lower left corner"


def test_colours_of_the_scale_grow_brighter_and_those_of_experts_differ():
    luminance = scale().astype(float) @ [0.30, 0.59, 0.11]
    assert luminance[0] == 0 and luminance[-1] == 255
    assert all(after >= before - 1 for before, after in pairwise(luminance))  # 8 bits
    assert luminance[128] == pytest.approx(128, abs=2)
    for count in (1, 4, 12):
        assert len({tuple(colour) for colour in expert_colours(count).tolist()}) == count


def test_boxes_are_cut_where_the_image_is_smaller():
    image, box = np.zeros((4, 5, 3), np.uint8), np.full((2, 9, 3), 7, np.uint8)
    assert with_box(image, box)[:, :, 0].tolist() == [[7] * 5] * 2 + [[0] * 5] * 2
    assert with_box(image, box, bottom=True)[:, :, 0].tolist() == [[0] * 5] * 2 + [[7] * 5] * 2
    assert not image.any()
    assert text_box("MoE-GS", 12).shape[0] == 20 and len(np.unique(text_box("MoE-GS", 12))) > 2


def test_names_of_experts_never_take_more_than_half_of_the_height():
    for height, columns in ((90, 2), (360, 1)):
        tall, one = (winner_legend(names, height) for names in (("a",) * 5, ("a",)))
        assert len(tall) <= height / 2 and tall.shape[1] == columns * one.shape[1]
        assert (tall == expert_colours(5)[4]).all(axis=2).any()


def test_a_grid_has_every_image_in_its_place():
    grid = grid_of(frame(truth=flat(90)), EXPERTS)
    assert grid.shape == (2 * H, 3 * W, 3)
    centres = [grid[row * H + H // 2, column * W + 3 * W // 4].tolist() for row in (0, 1) for column in (0, 1, 2)]
    levels = [[90] * 3, [100] * 3, [50] * 3, [150] * 3]
    assert centres == [*levels, scale()[40].tolist(), expert_colours(2)[1].tolist()]
    assert not np.array_equal(grid[:10, :10], flat(90)[:10, :10]), "its name is in the upper left corner"


def test_a_grid_of_novel_views_has_no_truth():
    grid = grid_of(frame(truth=None), EXPERTS)
    assert grid.shape == (2 * H, 2 * W, 3)
    assert grid[H // 2, W - 1].tolist() == [100] * 3
    assert grid[H + H // 2, 2 * W - 1].tolist() == expert_colours(2)[1].tolist()


def test_a_wide_grid_is_made_smaller():
    wide = np.zeros((1014, 1352, 3), np.uint8)
    images = FrameImages(image=wide, truth=wide, experts=(wide,) * 4, gates=(), winner=wide[:, :, 0])
    assert grid_of(images, ("a", "b", "c", "d")).shape == (720, WIDEST, 3)


def mixture(depths: list[float], alphas: list[float]) -> Mixture:
    """Two experts of the same depths (times alpha) and alphas, three quarters of the first one."""
    alpha = torch.tensor(alphas).reshape(1, 1, -1).repeat(2, 1, 1)
    gates = torch.tensor([0.75, 0.25]).reshape(2, 1, 1).repeat(1, 1, len(depths))
    images = torch.full((2, 3, 1, len(depths)), 0.5)
    return Mixture(
        image=images[0],
        images=images,
        gates=gates,
        logits=gates,
        alphas=alpha,
        depths=torch.tensor(depths) * alpha,
    )


def test_depth_is_white_where_near_and_black_where_far_or_empty():
    images = frame_images(mixture([2.0, 4.0, 6.0, 9.0, 1.0], [1.0, 0.5, 1.0, 1.0, 0.0]), depth_range=(2.0, 6.0))
    assert images.depth is not None and images.alpha is not None
    assert images.depth.tolist() == [[255, 128, 0, 0, 0]]  # 127.5 rounds to even
    assert images.alpha.tolist() == [[255, 128, 255, 255, 0]]
    assert [gate.tolist() for gate in images.gates] == [[[191] * 5], [[64] * 5]]
    tall = FrameImages(image=flat(0), experts=(), gates=(), depth=flat(0)[:, :, 0] + 128, depth_range=(2.0, 6.0))
    assert depth_map(tall)[0, 0].tolist() == scale()[128].tolist()


def test_the_range_of_depths_holds_what_is_seen():
    depth = torch.linspace(0, 100, 101)[None]
    assert range_of(depth, torch.ones_like(depth)) == pytest.approx((2, 98))
    assert range_of(depth, (depth <= 50).float()) == pytest.approx((1, 49))
    assert range_of(depth, torch.zeros_like(depth)) == (0, 1)


def test_the_winner_is_the_largest_gate():
    gates = torch.tensor([[[0.1, 0.6]], [[0.9, 0.4]]])
    each = Mixture(image=torch.zeros(3, 1, 2), images=torch.zeros(2, 3, 1, 2), gates=gates, logits=gates)
    winner = frame_images(each, winner=True).winner
    assert winner is not None and winner.tolist() == [[1, 0]]
    assert frame_images(each).winner is None
