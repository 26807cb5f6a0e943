"""Finding STG's segments by their folders' names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experts.base import CheckpointError
from experts.stg.segments import check_coverage, find_segments


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
    return root


def spans(root: Path, scene: str | None = None) -> list[tuple[int, int | None]]:
    return [(segment.first, segment.last) for segment in find_segments(root, scene=scene)]


def fault(root: Path, scene: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        find_segments(root, scene=scene)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 120), min_size=1, max_size=8), named=st.booleans())
def test_any_partition_of_a_clip_is_found_in_time_order(tmp_path_factory, lengths: list[int], named: bool) -> None:
    root = tmp_path_factory.mktemp("stg") / "cook_spinach"
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    expected = [(start, start + length - 1) for start, length in zip(starts, lengths, strict=True)]
    prefix = "cook_spinach_" if named else ""
    folders(root, *(f"{prefix}{first}to{last}" for first, last in expected))
    assert spans(root) == expected


def test_a_folder_without_segments_is_one_model(tmp_path: Path) -> None:
    assert spans(folders(tmp_path / "Painter", "point_cloud")) == [(0, None)]
    assert spans(folders(tmp_path / "Painter_0to49", "point_cloud")) == [(0, 49)]


def test_the_scenes_segments_are_chosen_among_others(tmp_path: Path) -> None:
    root = folders(tmp_path / "stg", "a_0to9", "a_10to19", "b_0to4", "logs", "a_backup")
    assert spans(root, "a") == [(0, 9), (10, 19)]
    assert spans(root, "b") == [(0, 4)]
    assert "segments stg_<first>to<last> expected, found a_0to9, a_10to19, b_0to4" in fault(root)


def test_a_renamed_folder_keeps_its_segments(tmp_path: Path) -> None:
    assert spans(folders(tmp_path / "renamed", "a_0to9", "a_10to19")) == [(0, 9), (10, 19)]


def test_results_of_stage_two_have_no_prefix(tmp_path: Path) -> None:
    assert spans(folders(tmp_path / "STG", "0to149", "150to299"), "sear_steak") == [(0, 149), (150, 299)]


def test_another_scenes_segments_are_named(tmp_path: Path) -> None:
    root = folders(tmp_path / "sear_steak", "flame_steak_0to149", "flame_steak_150to299")
    assert "segments sear_steak_<first>to<last> expected, found flame_steak_0to149" in fault(root, "sear_steak")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["a_0to49", "a_60to99"], "no segment for frames 50 to 59 before a_60to99; add the segment that starts at 50"),
        (["a_0to49", "a_40to99"], "segment a_40to99 overlaps the one before it, which ends at 49"),
        (["a_0to49", "a_0to99"], "overlaps"),
        (["a_150to299"], "no segment for frames 0 to 149 before a_150to299"),
        (["a_9to0"], "ends before it starts"),
        (["a_0to49", "point_cloud"], "holds both a model (point_cloud) and segments (a_0to49)"),
    ],
)
def test_gaps_overlaps_and_ambiguity(tmp_path: Path, names: list[str], what: str) -> None:
    assert what in fault(folders(tmp_path / "a", *names))


def test_a_later_segment_given_alone(tmp_path: Path) -> None:
    assert "give the folder above all segments, or complete it" in fault(
        folders(tmp_path / "a" / "a_150to299", "point_cloud")
    )


def test_a_clip_longer_than_the_segments(tmp_path: Path) -> None:
    check_coverage(tmp_path, 150, 150)
    check_coverage(tmp_path, 150, None)
    with pytest.raises(
        CheckpointError, match="covers 150 of the clip's 300 frames; add the segment that starts at 150"
    ):
        check_coverage(tmp_path, 150, 300)
