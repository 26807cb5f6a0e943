"""An expert of windows: how a clip is cut, what shows a frame, and folders that are refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from benchmarks.trained_scenes import trained_like_scene
from experts import EXPERTS, CheckpointError, LoadOptions, load_expert
from experts.recognition import expert_of_folder, model_folder
from experts.windows.folders import Window, check_windows, planned_windows
from experts.windows.model import WindowedExpert, parts_at
from experts.windows.saving import save_model
from tests.small_world import GAUSSIANS, CloudExpert

OVERLAPPING = (Window(first=0, last=5), Window(first=3, last=9), Window(first=7, last=11))


def clouds(windows: tuple[Window, ...] = OVERLAPPING) -> WindowedExpert:
    models = [CloudExpert("STG", seed).requires_grad_(False) for seed in range(len(windows))]
    for model in models:
        model.rows = lambda frame: slice(0, GAUSSIANS)
    return WindowedExpert(windows, models)


@pytest.mark.parametrize("frames", [2, 30, 31, 59, 60, 61, 300, 1200, 1201])
@pytest.mark.parametrize(("length", "overlap"), [(30, 10), (30, 0), (31, 7), (300, 20)])
def test_windows_cover_the_clip_and_overlap_as_asked(frames, length, overlap):
    windows = planned_windows(frames, length=length, overlap=overlap)
    assert (windows[0].first, windows[-1].last) == (0, frames - 1)
    assert max(window.count for window in windows) <= length
    assert max(window.count for window in windows) - min(window.count for window in windows) <= 1
    assert all(one.last - other.first + 1 == overlap for one, other in pairwise(windows))
    assert len(windows) == (1 if frames <= length else -(-(frames - overlap) // (length - overlap)))
    check_windows(Path("model"), windows, frames)


def test_shares_go_linearly_over_an_overlap_and_sum_to_one():
    expert = clouds()
    shares = {frame: [part.share for part in expert.parts_at(frame)] for frame in range(12)}
    assert shares[2] == shares[6] == shares[11] == [1.0]
    assert [shares[frame][1] for frame in (3, 4, 5)] == pytest.approx([0.25, 0.5, 0.75])
    assert [shares[frame][1] for frame in (7, 8, 9)] == pytest.approx([0.25, 0.5, 0.75])
    assert all(sum(each) == pytest.approx(1) for each in shares.values())
    assert [part.frame for part in expert.parts_at(4.5)] == [4.5, 1.5]
    assert [part.rows for part in expert.parts_at(8)] == [slice(50, 100), slice(100, 150)]
    assert (expert.num_frames, expert.num_gaussians) == (12, 3 * GAUSSIANS)
    assert expert.seams() == [range(3, 7), range(7, 11)]
    assert clouds((Window(first=0, last=5), Window(first=6, last=11))).seams() == [range(6, 7)]


def test_what_asks_for_gaussians_alone_gets_the_larger_share():
    expert = clouds()
    for frame, index, local in ((2, 0, 2), (3, 0, 3), (5, 1, 2), (9, 2, 2)):
        assert torch.equal(expert.at(frame).means, expert.experts[index].at(local).means)
        assert expert.rows(frame) == slice(index * GAUSSIANS, (index + 1) * GAUSSIANS)
    with pytest.raises(ValueError, match="STG: frame 12 lies outside 0 to 11 of its windows"):
        expert.at(12)


def test_a_name_is_that_of_all_windows():
    expert = clouds()
    expert.name = "STG-2"
    assert {each.name for each in (expert, *expert.experts)} == {"STG-2"}


def test_another_expert_is_the_only_part_of_its_images():
    expert = CloudExpert("STG", 1)
    (part,) = parts_at(expert, 1.5)
    assert (part.expert, part.frame, part.rows, part.share) == (expert, 1.5, expert.rows(1.5), 1.0)


@pytest.mark.parametrize(
    ("windows", "fault"),
    [
        ([(5, 9)], r"no window for frames 0 to 4 before window_5-9; train it with --window 1"),
        ([(0, 4), (6, 9)], r"no window for frames 5 to 5, between window_0-4 and window_6-9"),
        ([(0, 9), (2, 5)], r"window_2-5 ends before window_0-9 does"),
        ([(0, 6), (3, 8), (5, 11)], r"window_0-6 and window_5-11 show the same frames with a window between them"),
        ([(0, 4), (4, 8)], r"covers 9 of the clip's 12 frames; add the window that follows window_4-8"),
        ([(0, 4), (4, 2)], r"window_4-2 ends before it begins"),
    ],
)
def test_windows_that_do_not_belong_together_are_refused(windows, fault):
    chosen = [Window(first=first, last=last) for first, last in windows]
    with pytest.raises(CheckpointError, match=fault):
        check_windows(Path("model"), chosen, 12)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Random models of two windows."""
    for seed, window in enumerate(OVERLAPPING[:2]):
        torch.manual_seed(seed)
        gaussians, _ = trained_like_scene(count=20 + seed, width=32, height=24, seed=seed)
        spec = EXPERTS["FreeTime"]
        spec.save(spec.random_model(gaussians), tmp_path / "model" / window.name, 7)
    return tmp_path / "model"


def test_folders_of_windows_are_one_expert(folder, tmp_path):
    expert = load_expert("FreeTime", folder, LoadOptions(num_frames=10))
    assert isinstance(expert, WindowedExpert)
    assert (expert.num_gaussians, expert.num_frames, expert.provenance.iteration) == (41, 10, 7)
    assert {path.relative_to(folder).parts[0] for path in expert.provenance.files} == {"window_0-5", "window_3-9"}
    assert expert_of_folder(folder, None, experts=EXPERTS.values()) is EXPERTS["FreeTime"]
    assert model_folder(folder, None, experts=EXPERTS.values()) == folder
    save_model(EXPERTS["FreeTime"], expert, tmp_path / "copy", 9)
    again = load_expert("FreeTime", tmp_path / "copy", LoadOptions(num_frames=10))
    for frame in (0, 4, 9):
        for part, other in zip(parts_at(expert, frame), parts_at(again, frame), strict=True):
            assert torch.equal(part.expert.at(part.frame).means, other.expert.at(other.frame).means)


def test_folders_that_cannot_be_an_expert_are_refused(folder):
    with pytest.raises(CheckpointError, match=r"window_0-5.*looks like FreeTime, STG expected"):
        load_expert("STG", folder, LoadOptions())
    with pytest.raises(CheckpointError, match="covers 10 of the clip's 40 frames"):
        load_expert("FreeTime", folder, LoadOptions(num_frames=40))
    (folder / "point_cloud").mkdir()
    with pytest.raises(CheckpointError, match=r"holds both a model \(point_cloud\) and window_0-5; split them"):
        load_expert("FreeTime", folder, LoadOptions())
