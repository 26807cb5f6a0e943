"""Numpy files whose headers claim more than they hold."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from common.disk import arrays
from common.disk.arrays import read_array, read_arrays


def npy(path: Path, shape: tuple[int, ...], content: bytes, descr: str = "<f8") -> Path:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        file.write(content)
    return path


def test_arrays_are_read(tmp_path: Path) -> None:
    rows = np.arange(34.0).reshape(2, 17)
    np.save(tmp_path / "a.npy", rows)
    assert np.array_equal(read_array(tmp_path / "a.npy"), rows)
    np.savez_compressed(tmp_path / "b.npz", xyz=rows, none=np.zeros((0, 3)), one=np.float32(2))
    assert np.array_equal(read_arrays(tmp_path / "b.npz")["xyz"], rows)
    assert list(read_arrays(tmp_path / "b.npz")) == ["xyz", "none", "one"]


@pytest.mark.parametrize("shape", [(10**9, 17), (1 << 62, 1 << 62), (3, 17)])
def test_a_header_that_claims_more_than_follows_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = npy(tmp_path / "poses_bounds.npy", shape, bytes(8 * 17))
    with pytest.raises(ValueError, match=r"poses_bounds.npy claims an array .* 136 bytes follow"):
        read_array(path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.write(path, "xyz.npy")
    with pytest.raises(ValueError, match=r"xyz.npy claims an array"):
        read_arrays(tmp_path / "a.npz")


def test_objects_and_other_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(b"PK\x03\x04")
    for name in ("a.npy", "b.npy"):
        with pytest.raises(ValueError):
            read_array(tmp_path / name)


def test_an_archive_that_grows_without_bound_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(arrays, "_SMALL", 1 << 24)  # writing a GiB would take seconds
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xyz.npy", "w", force_zip64=True) as stream,
    ):
        for _ in range(20):
            stream.write(bytes(1 << 20))
    with pytest.raises(ValueError, match="its arrays take more than"):
        read_arrays(tmp_path / "a.npz")
