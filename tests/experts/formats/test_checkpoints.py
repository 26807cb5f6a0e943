"""Checkpoint folders from strangers: read without running anything, refused in one line."""

from __future__ import annotations

import argparse
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from common.disk.files import file_hash
from experts.base import CheckpointError
from experts.formats.cfg_args import read_cfg_args
from experts.formats.folders import find_iteration
from experts.formats.settings import CheckpointSettings
from experts.formats.torch_files import (
    load_state_dict,
    load_tensors,
    require_finite,
    save_tensors,
)


class Marker:
    """Creates a file when it is unpickled by something that executes what it reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str, str], object], tuple[str, str]]:
        return open, (str(self.path), "w")


def fault(action: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500, text
    return text


def test_what_trainers_store_beside_tensors_is_read(tmp_path: Path) -> None:
    stored = (torch.arange(3.0), np.float64(2.5), np.float32(1.5), argparse.Namespace(lr=0.1), {"state": {0: [1, "a"]}})
    torch.save(stored, tmp_path / "a.pth")
    loaded = load_tensors(tmp_path / "a.pth")
    assert torch.equal(loaded[0], stored[0]) and loaded[1:] == stored[1:]


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_scalars_of_both_numpy_versions_are_read(tmp_path: Path, module: str) -> None:
    buffer = io.BytesIO()
    torch.save(np.float64(2.5), buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(tmp_path / "a.pth", "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            for name in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
                if entry.filename.endswith("data.pkl") and b"c" + name in data:
                    data = data.replace(b"c" + name, b"c" + module.encode())
                    break
            new.writestr(entry, data)
    assert module.encode() in (tmp_path / "a.pth").read_bytes()
    assert load_tensors(tmp_path / "a.pth") == 2.5


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path: Path, layout: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "deformation.pth"
    content = {"weight": torch.zeros(2), "x": Marker(marker)}
    if layout == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    text = fault(lambda: load_tensors(path))
    assert not marker.exists()
    if layout == "legacy":
        assert "is in the format of PyTorch before 1.6" in text
    if layout == "zip":
        assert "open" in text and "--trust_checkpoint" in text
    if layout != "pickle":
        load_tensors(path, trust=True)
        assert marker.exists(), "the file is harmless: the test proves nothing"


def test_a_file_of_an_old_pytorch_is_refused_with_the_way_to_write_it_anew(tmp_path: Path) -> None:
    path = tmp_path / "deformation.pth"
    content = {"weight": torch.arange(3.0)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert "before 1.6, which has no check sums" in fault(lambda: load_tensors(path))
    assert torch.equal(load_tensors(path, trust=True)["weight"], content["weight"])
    torch.save(torch.load(path, weights_only=True), path)  # as the message says
    assert torch.equal(load_tensors(path)["weight"], content["weight"])


def test_a_refused_type_is_named(tmp_path: Path) -> None:
    torch.save({"folder": Path("x")}, tmp_path / "a.pth")
    text = fault(lambda: load_tensors(tmp_path / "a.pth"))
    assert "pathlib" in text and "--trust_checkpoint" in text and str(tmp_path / "a.pth") in text
    assert load_tensors(tmp_path / "a.pth", trust=True) == {"folder": Path("x")}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"  <!DOCTYPE html><html>quota exceeded</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"PK\x03\x04" + b"\0" * 100, "truncated or damaged"),
        (b"\x89PNG\r\n" + b"\0" * 100, "not a file written by torch.save"),
    ],
)
def test_foreign_files_are_told_apart(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "deformation.pth"
    path.write_bytes(content)
    assert expected in fault(lambda: load_tensors(path))
    if content:
        assert expected in fault(lambda: load_tensors(path, trust=True))


def test_every_truncation_and_flipped_byte_loads_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_tensors({"weight": torch.arange(4.0)}, path)
    whole = path.read_bytes()
    for end in range(0, len(whole), 37):
        path.write_bytes(whole[:end])
        fault(lambda: load_tensors(path))
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(whole), 60):
        flipped = bytearray(whole)
        flipped[position] ^= 0xFF
        path.write_bytes(flipped)
        try:
            load_tensors(path)
        except CheckpointError as error:
            assert "\n" not in str(error)


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "deformation.pth").touch()
    assert "nearest there: deformation.pth" in fault(lambda: load_tensors(tmp_path / "deformations.pth"))
    assert f"below {tmp_path}" in fault(lambda: load_tensors(tmp_path / "no" / "such" / "a.pth"))


def test_state_dict_must_be_one_and_finite(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_tensors([1, 2], path)
    assert "holds a list" in fault(lambda: load_state_dict(path))
    save_tensors({"a.weight": torch.tensor([1.0, float("nan")]), "b": torch.tensor([float("inf")])}, path)
    assert "a.weight, b" in fault(lambda: load_state_dict(path))
    require_finite({"count": torch.tensor([3]), "ok": torch.zeros(0)}, path)


def test_saved_bytes_depend_on_the_value_only(tmp_path: Path) -> None:
    save_tensors({"a": torch.arange(3.0)}, tmp_path / "a.pth")
    save_tensors({"a": torch.arange(3.0)}, tmp_path / "sub" / "b.pth")
    assert file_hash(tmp_path / "a.pth") == file_hash(tmp_path / "sub" / "b.pth")


def test_cfg_args_of_the_original_trainers(shared: Callable[[str], Path]) -> None:
    folder = shared("reference/experts")
    args = read_cfg_args(folder / "4DGaussians" / "kitchen_tiny")
    assert args is not None and args["multires"] == [1, 2] and args["no_do"] is False and args["iterations"] == 3000
    assert args["kplanes_config"]["resolution"] == [64, 64, 64, 150]  # type: ignore[index]


def test_cfg_args_keeps_literals_only(tmp_path: Path) -> None:
    text = "Namespace(a=1, b=-0.5, c=['x', None], d=__import__('os').system('true'), e=nan, **{'f-g': (1, 2)})\n"
    (tmp_path / "cfg_args").write_text(text)
    assert read_cfg_args(tmp_path) == {"a": 1, "b": -0.5, "c": ["x", None], "f-g": (1, 2)}
    assert read_cfg_args(tmp_path / "nowhere") is None


WINDOWS = r"Namespace(sh_degree=3, source_path='D:\\Bücher\\küche', near=0.69)"
CHINESE = r"Namespace(sh_degree=3, source_path='D:\\数据\\场景', near=0.69)"


@pytest.mark.parametrize(
    ("text", "encoding", "scene"),
    [
        (WINDOWS, "utf-8", "küche"),
        (WINDOWS, "utf-8-sig", "küche"),
        (WINDOWS, "utf-16", "küche"),
        (WINDOWS, "cp1252", "küche"),
        (CHINESE, "utf-16", "场景"),
        (CHINESE, "gbk", None),  # a code page that a file does not name: the settings count
        (r"Namespace(sh_degree=3, source_path='C:\Users\x\küche', near=0.69)", "cp1252", "küche"),  # by hand
        ("Namespace(sh_degree=3, source_path=WindowsPath('D:/x'), near=0.69)", "ascii", None),
    ],
)
def test_cfg_args_of_windows_are_read(tmp_path: Path, text: str, encoding: str, scene: str | None) -> None:
    (tmp_path / "cfg_args").write_bytes((text + "\r\n").encode(encoding))
    stored = read_cfg_args(tmp_path)
    assert stored is not None and (stored["sh_degree"], stored["near"]) == (3, 0.69)
    if scene is not None:
        settings = CheckpointSettings(tmp_path)
        settings.compare_scene(scene)
        settings.compare_scene("other")
        assert settings.notes == [f"cfg_args names the scene {scene}, the run's is other"]


def test_cfg_args_in_utf_16_cut_off_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cfg_args").write_bytes(WINDOWS.encode("utf-16")[:-5])
    assert "mend or remove it" in fault(lambda: read_cfg_args(tmp_path))


def test_cfg_args_round_trip_of_a_namespace(tmp_path: Path) -> None:
    values = {"sh_degree": 3, "source_path": "a 'b' \"c\"", "nested": {"x": [1, 2.5]}, "flag": True, "nothing": None}
    (tmp_path / "cfg_args").write_text(str(argparse.Namespace(**values)))
    assert read_cfg_args(tmp_path) == values


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Namespace(a=1",
        "print('x')",
        "[1, 2]",
        "Namespace(1, 2)",
        "os.Namespace(a=1)",
        "Namespace(a=1); import os",
        "\0",
        "(" * 100000,
        "Namespace(device=<object at 0x1>)",
    ],
)
def test_malformed_cfg_args_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "cfg_args").write_text(text)
    assert "mend or remove it" in fault(lambda: read_cfg_args(tmp_path))


def test_binary_cfg_args_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cfg_args").write_bytes(b"\xff\xfe\x00\x80")
    assert "mend or remove it" in fault(lambda: read_cfg_args(tmp_path))


def test_highest_or_asked_iteration(tmp_path: Path) -> None:
    for name in ("iteration_7000", "iteration_14000", "coarse_iteration_30000", "iteration_30000_old"):
        (tmp_path / "point_cloud" / name).mkdir(parents=True)
    (tmp_path / "point_cloud" / "iteration_99999").touch()
    assert find_iteration(tmp_path, None) == (14000, tmp_path / "point_cloud" / "iteration_14000")
    assert find_iteration(tmp_path, 7000) == (7000, tmp_path / "point_cloud" / "iteration_7000")
    assert "available: 7000, 14000" in fault(lambda: find_iteration(tmp_path, 30000))


def test_folder_without_iterations(tmp_path: Path) -> None:
    assert "no such folder" in fault(lambda: find_iteration(tmp_path / "gone", None))
    assert "no folder point_cloud" in fault(lambda: find_iteration(tmp_path, None))
    (tmp_path / "point_cloud" / "coarse_iteration_3000").mkdir(parents=True)
    assert "coarse_iteration_3000" in fault(lambda: find_iteration(tmp_path, None))
