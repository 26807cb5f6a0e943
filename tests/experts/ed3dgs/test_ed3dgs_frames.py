"""E-D3DGS's choice of images: by chance, by error, in streaks."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from itertools import pairwise

import pytest
import torch

from experts.ed3dgs.frame_sampler import FIRST_ERROR, FrameErrors, chances, far_cameras
from experts.training.samplers import Sample

VIEWS, FRAMES, ERRORS_FROM = 3, 4, 1000


def in_streak(iteration: int) -> bool:
    return iteration >= ERRORS_FROM and iteration % 50 < 5


def sampler(seed: int = 0, *, streak=in_streak, **options) -> FrameErrors:
    generator = torch.Generator().manual_seed(seed)
    return FrameErrors(
        views=VIEWS, frames=FRAMES, generator=generator, errors_from=ERRORS_FROM, in_streak=streak, **options
    )


def never(iteration: int) -> bool:
    return False


def drawn(source: FrameErrors, first: int, last: int) -> dict[int, tuple[int, int]]:
    samples = {iteration: source.next(iteration)[0] for iteration in range(first, last)}
    return {iteration: (sample.view, sample.frame) for iteration, sample in samples.items()}


def with_errors(source: FrameErrors) -> FrameErrors:
    source.errors[:] = torch.tensor([0.1, 0.2, 0.1, 0.3])  # above the best frame: 0, 1, 0, 2
    return source


def test_first_all_images_are_as_likely():
    """Each of twelve 1 / 12 of 1,996; a deviation of 12 expected."""
    counts = Counter(drawn(with_errors(sampler()), 1, 999).values())
    counts += Counter(drawn(with_errors(sampler(1)), 1, 999).values())
    assert len(counts) == VIEWS * FRAMES
    assert all(abs(count - 1996 / 12) < 60 for count in counts.values())


def test_later_every_second_one_goes_by_the_errors():
    samples = drawn(with_errors(sampler(streak=never)), ERRORS_FROM, ERRORS_FROM + 3000)
    even = Counter(frame for iteration, (_, frame) in samples.items() if iteration % 2 == 0)
    odd = Counter(frame for iteration, (_, frame) in samples.items() if iteration % 2)
    assert even.keys() == {1, 3} and abs(even[3] - 1000) < 80
    assert odd.keys() == {0, 1, 2, 3} and all(abs(count - 375) < 80 for count in odd.values())
    assert all(abs(count - 1000) < 120 for count in Counter(view for view, _ in samples.values()).values())


def test_streaks_keep_their_frame_and_change_the_camera():
    samples = drawn(sampler(), ERRORS_FROM - 100, ERRORS_FROM + 2000)
    streaks = [[samples[first + step] for step in range(6)] for first in range(ERRORS_FROM, ERRORS_FROM + 2000, 50)]
    assert all(len({frame for _, frame in streak}) == 1 for streak in streaks)
    assert max(len({view for view, _ in streak}) for streak in streaks) == VIEWS
    others = [i for i in samples if i + 1 in samples and not in_streak(i)]
    assert sum(samples[i][1] != samples[i + 1][1] for i in others) > 0.6 * len(others)  # 3 / 4 expected


def test_recorded_errors_count_from_the_next_reading():
    source = sampler(streak=never)
    drawn(source, ERRORS_FROM, ERRORS_FROM + 2)
    for sample, error in ((Sample(view=0, frame=2), 200.0), (Sample(view=1, frame=2), 150.0)):
        source.record(sample, torch.tensor(error))
    assert float(source.errors.sum()) == 150 + 200 + (VIEWS * FRAMES - 2) * FIRST_ERROR
    samples = drawn(source, ERRORS_FROM + 50, ERRORS_FROM + 100)
    assert {frame for iteration, (_, frame) in samples.items() if iteration % 2 == 0} == {2}


def test_without_differences_all_frames_are_as_likely():
    assert chances(torch.full((2, 3), 7.0)).tolist() == [1.0, 1.0, 1.0]
    assert chances(torch.tensor([[1.0, 2.0], [0.5, 0.25]])).tolist() == [0.0, 0.75]


def test_it_goes_on_from_its_state():
    one = with_errors(sampler(3))
    drawn(one, 980, ERRORS_FROM + 53)  # within a streak
    other = sampler(9)
    other.load(deepcopy(one.state()))
    other._generator.set_state(one._generator.get_state())
    assert drawn(one, ERRORS_FROM + 53, ERRORS_FROM + 300) == drawn(other, ERRORS_FROM + 53, ERRORS_FROM + 300)
    assert drawn(sampler(4), 1, 50) == drawn(sampler(4), 1, 50) != drawn(sampler(5), 1, 50)
    smaller = FrameErrors(
        views=VIEWS, frames=1, generator=torch.Generator(), errors_from=ERRORS_FROM, in_streak=in_streak
    )
    with pytest.raises(ValueError, match=r"errors of \(3, 4\) cameras and frames were saved, this clip has \(3, 1\)"):
        smaller.load(one.state())


def test_far_cameras_are_at_least_the_median_apart():
    """The median is the lower of two in the middle."""
    row = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 0, 0]])  # distances 1 1 2 7 8 9
    assert far_cameras(row) == [[2, 3], [3], [0, 3], [0, 1, 2]]
    close = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.5, 0, 0]])  # distances 0.5 0.5 1
    assert far_cameras(close) == [[1, 2], [0, 2], [0, 1]]
    assert far_cameras(torch.zeros(1, 3)) == [[0]]
    views = [view for view, _ in drawn(sampler(positions=row[1:]), 1, 300).values()]
    assert set(pairwise(views)) == {(0, 2), (1, 2), (2, 0), (2, 1)}


def test_a_batch_in_a_streak_is_of_one_frame():
    source = sampler(batch=3)
    assert len(source.next(1)) == 3
    source.next(ERRORS_FROM)
    assert len({sample.frame for sample in source.next(ERRORS_FROM + 1)}) == 1
