"""Packed tables: what is lost, and that damaged or boasting files are refused in one line before memory is taken."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from experts.base import CheckpointError
from experts.formats.packed import MAGIC, is_packed, write_packed
from experts.formats.ply import read_column_names, read_comments, read_ply, write_ply

NAMES = ("x", "nx", "f_dc_0", "f_rest_0", "opacity", "scale_0", "rot_0", "embedding_0", "trbf_center")
STEP = {"f_dc_0": 0.004, "f_rest_0": 0.01, "opacity": 0.02, "scale_0": 0.01}


def table(rows: int = 3000) -> np.ndarray:
    matrix = np.random.default_rng(0).normal(size=(rows, len(NAMES))).astype(np.float32) * 3
    matrix[:, 1] = 0
    return matrix


def write(path: Path, facts: object, payload: bytes) -> Path:
    header = json.dumps(facts).encode()
    path.write_bytes(MAGIC + len(header).to_bytes(4, "little") + crc32(header).to_bytes(4, "little") + header + payload)
    return path


def test_a_table_comes_back_within_half_a_step_and_its_file_is_smaller(tmp_path: Path) -> None:
    matrix, path, plain = table(), tmp_path / "point_cloud.ply", tmp_path / "plain.ply"
    assert write_packed(path, NAMES, matrix, comments=["made here"])
    write_ply(plain, NAMES, matrix)
    assert is_packed(path) and not is_packed(plain)
    read = read_ply(path)
    assert read.names == NAMES == read_column_names(path) and read_comments(path) == ("made here",)
    assert read.matrix.dtype == np.float32
    relative = {"x": 2e-5, "trbf_center": 2e-5, "rot_0": 0.002, "embedding_0": 0.01}
    for index, name in enumerate(NAMES):
        wanted, values = matrix[:, index], read.matrix[:, index]
        step = STEP.get(name, relative.get(name, 0) * float(wanted.std()))
        assert np.abs(values - wanted).max() <= 0.51 * step + 2e-6, name
    assert path.stat().st_size < 0.4 * plain.stat().st_size


def test_infinite_logits_and_wide_columns_keep_their_bits(tmp_path: Path) -> None:
    matrix = table()
    matrix[5, 4], matrix[6, 4] = np.inf, -np.inf
    matrix[0, 3] = 1e30
    assert write_packed(tmp_path / "a.ply", NAMES, matrix)
    read = read_ply(tmp_path / "a.ply").matrix
    assert np.array_equal(read[:, 3:5], matrix[:, 3:5])


def columns_of(path: Path) -> list[list]:
    """Bytes, lowest value and step of each column, as the header tells."""
    content, start = path.read_bytes(), len(MAGIC) + 8
    return json.loads(content[start : start + int.from_bytes(content[len(MAGIC) :][:4], "little")])["columns"]


@pytest.mark.parametrize("rows", [40, 3000])
@pytest.mark.parametrize("far", [300.0, 1e6, -3e6, 1e30])
def test_far_values_come_back_and_cost_the_others_nothing(tmp_path: Path, rows: int, far: float) -> None:
    wide = table(rows)
    relative = [NAMES.index(name) for name in ("x", "rot_0", "embedding_0", "trbf_center")]
    for row in range(1 + rows // 200):  # up to half a per cent
        wide[7 * row, relative] = far * (1 + row / 64)
    for name, values in (("plain.ply", table(rows)), ("far.ply", wide)):
        assert write_packed(tmp_path / name, NAMES, values)
    steps = np.array([step for _, _, step in columns_of(tmp_path / "plain.ply")])
    loss, near = np.abs(read_ply(tmp_path / "far.ply").matrix - wide), wide == table(rows)
    wider = 1.05 if rows > 1000 else 1.3  # one of 40 values more at an end of the spread
    assert (loss <= np.where(near, 0.5 * wider * steps + 2e-6, 1e-4 * abs(far))).all()


def test_steps_of_a_column_without_far_values_are_shares_of_its_standard_deviation(tmp_path: Path) -> None:
    assert write_packed(tmp_path / "a.ply", NAMES, table(100_000))
    columns = columns_of(tmp_path / "a.ply")
    for index, share, size in ((0, 2e-5, 3), (6, 0.002, 2), (7, 0.01, 2)):
        assert columns[index][2] == pytest.approx(share * 3, rel=0.03) and columns[index][0] == size


def test_a_table_without_rows_between_its_ends_can_be_packed(tmp_path: Path) -> None:
    for rows in (2, 3):
        assert write_packed(tmp_path / "a.ply", NAMES, table(rows))
        assert np.abs(read_ply(tmp_path / "a.ply").matrix - table(rows)).max() <= 0.01


def test_a_table_of_another_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    assert write_packed(path, NAMES, table())
    path.write_bytes(b"moegs packed table 1\n" + path.read_bytes()[len(MAGIC) :])
    assert is_packed(path)
    for read in (read_ply, read_column_names, read_comments):
        with pytest.raises(CheckpointError, match=r"a packed table of version '1', this version reads 2; pack the run"):
            read(path)


def test_no_rows_and_one_row_can_be_packed(tmp_path: Path) -> None:
    for rows in (0, 1):
        assert write_packed(tmp_path / "a.ply", NAMES, table(rows))
        assert np.array_equal(read_ply(tmp_path / "a.ply").matrix, table(rows))


def test_what_readers_would_refuse_is_not_written(tmp_path: Path) -> None:
    assert not write_packed(tmp_path / "a.ply", NAMES, np.zeros((2_000_000, len(NAMES)), dtype=np.float32))
    assert not (tmp_path / "a.ply").exists()


def test_a_damaged_file_is_refused_wherever_it_is_cut_or_changed(tmp_path: Path) -> None:
    path = tmp_path / "point_cloud.ply"
    write_packed(path, NAMES, table(50))
    whole = path.read_bytes()
    for size in range(len(MAGIC), len(whole), 23):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            read_ply(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(CheckpointError, match="damaged"):
        read_ply(path)
    generator = np.random.default_rng(1)
    for place in range(len(whole)):  # a changed number in the header, too: it would move or recolour all Gaussians
        changed = bytearray(whole)
        changed[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        with pytest.raises(CheckpointError) as caught:
            read_ply(path)
        assert "\n" not in str(caught.value)


GOOD = {"rows": 2, "names": ["x"], "comments": [], "columns": [[1, 0.0, 1.0]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": -1}, "it says that it has -1 rows"),
        ({"rows": 10**12}, "it says that it has 1000000000000 rows"),
        ({"rows": 10**8, "columns": [[0, 0.0, 0.0]]}, "more than the 1000 times"),
        ({"rows": True}, "it says that it has True rows"),
        ({"names": []}, "its columns have no names, or the same"),
        ({"names": ["x", "x"]}, "its columns have no names, or the same"),
        ({"columns": [[9, 0.0, 1.0]]}, "bytes, lowest value and step"),
        ({"columns": [[1, "0", 1.0]]}, "bytes, lowest value and step"),
        ({"columns": [[2, 0.0, None]]}, "bytes, lowest value and step"),
        ({"columns": []}, "bytes, lowest value and step"),
        ({"rows": 3}, "its columns are not the 3 bytes"),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    good = write(tmp_path / "good.ply", GOOD, lzma.compress(b"\x01\x02"))
    assert read_ply(good).matrix.tolist() == [[1.0], [2.0]]
    with pytest.raises(CheckpointError, match=message):
        read_ply(write(tmp_path / "bad.ply", GOOD | change, lzma.compress(b"\x01\x02")))


def test_a_file_that_grows_without_end_is_not_decoded_to_its_end(tmp_path: Path) -> None:
    bomb = write(tmp_path / "bomb.ply", GOOD, lzma.compress(bytes(300_000_000), preset=0))
    with pytest.raises(CheckpointError, match="not the 2 bytes"):
        read_ply(bomb)


def test_values_that_overflow_are_refused(tmp_path: Path) -> None:
    wide = GOOD | {"columns": [[1, 0.0, 1e300]]}
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        read_ply(write(tmp_path / "wide.ply", wide, lzma.compress(b"\x01\x02")))
