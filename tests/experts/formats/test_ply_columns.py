"""Column orders and groups of the experts' PLY files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.base import CheckpointError
from experts.formats import columns
from experts.formats.ply import read_ply, write_ply


def table_of(folder: Path, names: tuple[str, ...]):
    write_ply(folder / "point_cloud.ply", names, torch.arange(float(2 * len(names))).reshape(2, -1))
    return read_ply(folder / "point_cloud.ply")


def test_widths_of_all_formats() -> None:
    assert len(columns.GAUSSIAN) == 62
    assert len(columns.EX4DGS_STATIC) == 65
    assert len(columns.ex4dgs_dynamic(36)) == 308 and len(columns.ex4dgs_dynamic(12)) == 140
    assert len(columns.ED3DGS) == 94
    assert (len(columns.STG_FULL), len(columns.STG_LITE), len(columns.STG_SH)) == (38, 32, 77)
    assert columns.ROUTING == ("f_t_0", "w_b_0", "w_b_1")


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("Ex4DGS/*/point_cloud/*/point_cloud.ply", columns.EX4DGS_STATIC),
        ("Ex4DGS/kitchen_tiny/point_cloud/*/dynamic_point_cloud.ply", columns.ex4dgs_dynamic(36)),
        ("Ex4DGS/basketball/point_cloud/*/dynamic_point_cloud.ply", columns.ex4dgs_dynamic(21)),
        ("E-D3DGS/*/point_cloud/*/point_cloud.ply", columns.ED3DGS),
        ("4DGaussians/*/point_cloud/*/point_cloud.ply", columns.GAUSSIAN),
        ("STG/*/*/point_cloud/*/point_cloud.ply", columns.STG_SH),
        ("STG_original/*_full_*/point_cloud/*/point_cloud.ply", columns.STG_FULL),
        ("STG_original/*_lite_*/point_cloud/*/point_cloud.ply", columns.STG_LITE),
    ],
)
def test_orders_and_bytes_are_those_of_the_experts_own_files(shared, tmp_path: Path, place, names) -> None:
    files = sorted(shared("reference/experts").glob(place))
    assert files
    for file in files:
        table = read_ply(file)
        assert table.names == names
        write_ply(tmp_path / "again.ply", names, table.matrix)
        assert (tmp_path / "again.ply").read_bytes() == file.read_bytes()


def test_sh_is_channel_major_in_the_file(tmp_path: Path) -> None:
    found = columns.select_sh(table_of(tmp_path, columns.DC + columns.REST))
    dc, rest = found["sh_dc"], found["sh_rest"]
    assert dc.shape == (2, 1, 3) and rest.shape == (2, 15, 3)
    assert dc[0, 0].tolist() == [0.0, 1.0, 2.0]
    assert rest[0, 0].tolist() == [3.0, 18.0, 33.0]
    assert rest[1, 14].tolist() == [48 + 17.0, 48 + 32.0, 48 + 47.0]


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(0, 5), seed=st.integers(0, 1000))
def test_sh_round_trip(rows: int, seed: int) -> None:
    flat = torch.randn(rows, 48, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(columns.sh_to_columns(**columns.sh_from_columns(flat)), flat)


def test_another_sh_degree_is_named(tmp_path: Path) -> None:
    table = table_of(tmp_path, columns.DC + columns.REST[:24])
    with pytest.raises(CheckpointError, match=r"24 f_rest_\* columns, 45 \(SH degree 3\) expected"):
        columns.select_sh(table)


def test_routing_weights_come_as_base_directional_temporal(tmp_path: Path) -> None:
    table = table_of(tmp_path, columns.ROUTING)
    weights = columns.select_routing(table)
    assert weights is not None and weights[0].tolist() == [1.0, 2.0, 0.0]
    assert columns.routing_to_columns(weights)[0].tolist() == [0.0, 1.0, 2.0]
    moving = table_of(tmp_path, columns.EX4DGS_DYNAMIC_ROUTING)
    assert torch.equal(columns.select_routing(moving, "motion_"), weights)
    assert columns.select_routing(moving) is None


def test_stg_time_features_are_not_routing_weights(tmp_path: Path) -> None:
    assert columns.select_routing(table_of(tmp_path, columns.STG_FULL)) is None


@pytest.mark.parametrize(
    ("names", "looks_like"),
    [
        (columns.STG_SH, "STG"),
        (columns.STG_LITE, "STG"),
        (columns.ED3DGS, "E-D3DGS"),
        (columns.EX4DGS_STATIC, "Ex4DGS"),
        (columns.ex4dgs_dynamic(4), "Ex4DGS"),
        (columns.GAUSSIAN, "4DGaussians"),
    ],
)
def test_a_file_given_to_the_wrong_expert_is_recognised(tmp_path: Path, names, looks_like: str) -> None:
    table = table_of(tmp_path, names)
    columns.require_expert(table, looks_like)
    other = "STG" if looks_like != "STG" else "Ex4DGS"
    with pytest.raises(CheckpointError, match=f"looks like {looks_like}, {other} expected"):
        columns.require_expert(table, other)


def test_a_table_of_no_expert_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no expert's Gaussians"):
        columns.require_expert(table_of(tmp_path, ("x", "y", "z", "intensity")), "STG")
