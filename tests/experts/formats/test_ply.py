"""PLY tables: exact round trips, and one line for every kind of broken or foreign file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experts.base import CheckpointError
from experts.formats.ply import numbered_columns, read_ply, select, write_ply

HEAD = b"ply\nformat binary_little_endian 1.0\n"
NAMES = ("x", "y", "z", "opacity")
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "point_cloud.ply"
    write_ply(path, NAMES, np.arange(20, dtype=np.float32).reshape(5, 4))
    return path


def fault(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_ply(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@quick
@given(data=st.data(), columns=st.integers(1, 12), rows=st.integers(0, 9))
def test_round_trip_keeps_every_bit_and_the_order(tmp_path: Path, data: st.DataObject, columns: int, rows: int) -> None:
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
    values = data.draw(st.lists(finite, min_size=rows * columns, max_size=rows * columns))
    names = data.draw(st.permutations([f"column_{i}" for i in range(columns)]))
    matrix = np.array(values, dtype=np.float32).reshape(rows, columns)
    write_ply(tmp_path / "t.ply", names, matrix)
    table = read_ply(tmp_path / "t.ply")
    assert table.names == tuple(names)
    assert table.matrix.tobytes() == matrix.tobytes()


def test_reads_comments_and_the_other_float_name(table: Path) -> None:
    text = table.read_bytes()
    text = text.replace(b"element", b"comment made by hand\nelement", 1).replace(b"float x", b"float32 x")
    table.write_bytes(text)
    assert read_ply(table).matrix.shape == (5, 4)


def test_select_copies_columns_in_the_order_asked_for(table: Path) -> None:
    read = read_ply(table)
    chosen = select(read, ["opacity", "x"])
    assert torch.equal(chosen[1], torch.tensor([7.0, 4.0]))
    chosen.zero_()
    assert read.matrix[1, 0] == 4.0


def test_missing_columns_are_named_with_the_nearest(table: Path) -> None:
    with pytest.raises(CheckpointError, match=r"2 columns missing: opacities \(nearest: opacity\), rot_0;"):
        select(read_ply(table), ["x", "opacities", "rot_0"])


def test_numbered_columns_sort_by_number() -> None:
    names = ["f_rest_10", "f_rest_9", "f_rest_x", "f_rest_0", "motion_f_rest_1"]
    assert numbered_columns(names, "f_rest_") == ("f_rest_0", "f_rest_9", "f_rest_10")


def test_write_rejects_a_matrix_of_another_width(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 columns named"):
        write_ply(tmp_path / "t.ply", NAMES, np.zeros((2, 3), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file_alone(table: Path) -> None:
    before = table.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        write_ply(table, ["x", "y", "z", "größe"], np.zeros((2, 4), np.float32))
    assert table.read_bytes() == before
    assert list(table.parent.iterdir()) == [table]


def test_missing_file_names_the_nearest(table: Path) -> None:
    assert "point_cloud.ply" in fault(table.parent / "point_clouds.ply").split(";")[1]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"PK\x03\x04" + b"0" * 40, "a zip archive"),
        (b"plywood and other materials\n", "not a PLY file"),
        (HEAD + b"element vertex 3\n", "a PLY header without an end"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1.0\n", "format ascii"),
        (b"ply\nformat binary_big_endian 1.0\nelement vertex 0\nproperty float x\nend_header\n", "binary_big_endian"),
        (b"ply\nend_header\n", "header says 'nothing'"),
        (HEAD + b"element face 0\nproperty float x\nend_header\n", "found face 0"),
        (HEAD + b"element vertex 0\nend_header\n", "no columns"),
        (HEAD + b"element vertex -4\nproperty float x\nend_header\n", "impossible"),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 999999999\nproperty float x\nend_header\n",
            "impossible",
        ),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 9999999\nproperty float x\nend_header\n",
            "0 of 9999999",
        ),
    ],
)
def test_foreign_and_malformed_files(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "point_cloud.ply"
    path.write_bytes(content)
    assert what in fault(path)


@pytest.mark.parametrize("column", [b"uchar x", b"double x", b"list uchar int x"])
def test_other_column_types_are_rejected(table: Path, column: bytes) -> None:
    table.write_bytes(table.read_bytes().replace(b"float x", column))
    assert f"found 'property {column.decode()}'" in fault(table)


def test_a_second_element_and_a_repeated_column_are_rejected(table: Path) -> None:
    good = table.read_bytes()
    table.write_bytes(good.replace(b"end_header", b"element face 1\nproperty float a\nend_header"))
    assert "vertex 5, face 1" in fault(table)
    table.write_bytes(good.replace(b"float y", b"float x"))
    assert "column x appears twice" in fault(table)


def test_truncated_and_overlong_files(table: Path) -> None:
    good = table.read_bytes()
    table.write_bytes(good[:-17])
    assert "truncated: 3 of 5 Gaussians" in fault(table)
    table.write_bytes(good + b"123")
    assert "3 bytes more" in fault(table)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named_by_column_and_row(table: Path, value: float) -> None:
    matrix = read_ply(table).matrix
    matrix[3, 2] = matrix[4, 0] = value
    write_ply(table, NAMES, matrix)
    assert "2 NaN or infinite values, the first in column z at row 3 (columns: x, z)" in fault(table)


@pytest.mark.parametrize("name", ["opacity", "motion_opacity"])
def test_opacity_logits_may_be_infinite_but_not_nan(tmp_path: Path, name: str) -> None:
    matrix = np.array([[0.0, np.inf], [1.0, -np.inf], [2.0, 3.0]], np.float32)
    write_ply(tmp_path / "a.ply", ["x", name], matrix)
    assert np.array_equal(read_ply(tmp_path / "a.ply").matrix, matrix)
    matrix[2, 1] = np.nan
    write_ply(tmp_path / "a.ply", ["x", name], matrix)
    assert f"1 NaN or infinite values, the first in column {name} at row 2" in fault(tmp_path / "a.ply")


@quick
@given(at=st.integers(0, 150), byte=st.integers(0, 255), cut=st.integers(0, 40))
def test_damage_gives_a_table_or_one_line(table: Path, at: int, byte: int, cut: int) -> None:
    good = table.read_bytes()
    damaged = bytearray(good)
    damaged[at] = byte
    bad = table.with_name("damaged.ply")
    bad.write_bytes(bytes(damaged[: len(damaged) - cut]))
    try:
        read = read_ply(bad)
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert read.matrix.shape[1] == len(read.names)
        assert np.isfinite(read.matrix).all()
