"""Column orders and groups of the experts' PLY files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts import EXPERTS
from experts.base import CheckpointError
from experts.ex4dgs.columns import MOTION_PREFIX, STATIC, dynamic_columns
from experts.formats import columns
from experts.formats.ply import read_column_names, read_ply, write_ply
from experts.formats.routing import ROUTING, append_columns, routing_columns
from experts.recognition import owner_of
from experts.stg.columns import COLUMNS as STG

EMBEDDED = columns.GAUSSIAN + columns.numbered("embedding_", 32)  # E-D3DGS's


def table_of(folder: Path, names: tuple[str, ...]):
    write_ply(folder / "point_cloud.ply", names, torch.arange(float(2 * len(names))).reshape(2, -1))
    return read_ply(folder / "point_cloud.ply")


def test_widths_of_all_formats() -> None:
    assert len(columns.GAUSSIAN) == 62
    assert len(STATIC) == 65
    assert len(dynamic_columns(36)) == 308 and len(dynamic_columns(12)) == 140
    assert len(EMBEDDED) == 94
    assert (len(STG["full"]), len(STG["lite"]), len(STG["sh"])) == (38, 32, 77)
    assert ROUTING == ("f_t_0", "w_b_0", "w_b_1")


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("Ex4DGS/*/point_cloud/*/point_cloud.ply", STATIC),
        ("Ex4DGS/kitchen_tiny/point_cloud/*/dynamic_point_cloud.ply", dynamic_columns(36)),
        ("Ex4DGS/basketball/point_cloud/*/dynamic_point_cloud.ply", dynamic_columns(21)),
        ("E-D3DGS/*/point_cloud/*/point_cloud.ply", EMBEDDED),
        ("4DGaussians/*/point_cloud/*/point_cloud.ply", columns.GAUSSIAN),
        ("STG/*/*/point_cloud/*/point_cloud.ply", STG["sh"]),
        ("STG_original/*_full_*/point_cloud/*/point_cloud.ply", STG["full"]),
        ("STG_original/*_lite_*/point_cloud/*/point_cloud.ply", STG["lite"]),
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


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_lower_sh_degrees_are_padded_with_zeros(tmp_path: Path, degree: int) -> None:
    coefficients = (degree + 1) ** 2 - 1
    harmonics = columns.select_sh(table_of(tmp_path, columns.DC + columns.REST[: 3 * coefficients]))
    width = 3 + 3 * coefficients
    assert harmonics["sh_dc"][1, 0].tolist() == [width, width + 1, width + 2]
    rest = harmonics["sh_rest"]
    assert rest.shape == (2, 15, 3)
    for number in range(coefficients):  # of each channel, the file holds one after the other
        assert rest[1, number].tolist() == [width + 3 + number + channel * coefficients for channel in range(3)]
    assert not rest[:, coefficients:].any()


def test_a_width_of_no_sh_degree_is_named(tmp_path: Path) -> None:
    table = table_of(tmp_path, columns.DC + columns.REST[:23])
    with pytest.raises(CheckpointError, match=r"23 f_rest_\* columns; 0, 9, 24 or 45 \(SH degree 0 to 3\) expected"):
        columns.select_sh(table)


def test_a_routers_weights_come_as_base_directional_temporal(tmp_path: Path) -> None:
    weights = routing_columns(table_of(tmp_path, ROUTING))
    assert weights is not None and weights[0].tolist() == [1.0, 2.0, 0.0]
    moving = table_of(tmp_path, tuple(f"{MOTION_PREFIX}{name}" for name in ROUTING))
    assert torch.equal(routing_columns(moving, MOTION_PREFIX), weights)
    assert routing_columns(moving) is None


def test_a_routers_weights_are_appended_behind_the_files_own_columns(tmp_path: Path) -> None:
    before = table_of(tmp_path, columns.POSITION)
    weights = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    append_columns(before.path, weights, MOTION_PREFIX)
    after = read_ply(before.path)
    assert after.names == ("x", "y", "z", "motion_f_t_0", "motion_w_b_0", "motion_w_b_1")
    assert (after.matrix[:, :3] == before.matrix).all() and after.matrix[0, 3:].tolist() == [3.0, 1.0, 2.0]
    assert torch.equal(routing_columns(after, MOTION_PREFIX), weights)


def test_stg_time_features_are_not_a_routers_weights(tmp_path: Path) -> None:
    assert routing_columns(table_of(tmp_path, STG["full"])) is None


@pytest.mark.parametrize(
    ("names", "looks_like"),
    [
        (STG["sh"], "STG"),
        (STG["lite"], "STG"),
        (EMBEDDED, "E-D3DGS"),
        (STATIC, "Ex4DGS"),
        (dynamic_columns(4), "Ex4DGS"),
        (columns.GAUSSIAN, "4DGaussians"),
    ],
)
def test_every_experts_columns_are_told_apart(tmp_path: Path, names, looks_like: str) -> None:
    path = table_of(tmp_path, (*names, *(name for name in ROUTING if name not in names))).path
    owner = owner_of(read_column_names(path), EXPERTS.values())
    assert owner is not None and owner.name == looks_like


def test_a_table_of_no_expert_has_no_owner() -> None:
    assert owner_of(("x", "y", "z", "intensity"), EXPERTS.values()) is None
