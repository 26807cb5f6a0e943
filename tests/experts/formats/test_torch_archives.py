"""Torch files whose bits flipped, or that claim more than they hold."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest
import torch

from experts.base import CheckpointError
from experts.formats.torch_files import load_tensors


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save({"a": torch.arange(1000.0), "b": [torch.zeros(3, dtype=torch.uint8), 1.5]}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def rewritten(path: Path, *, compressed: bool = False, pickle: tuple[bytes, bytes] = (b"", b"")) -> None:
    """Write the archive again, compressed, or with other bytes in its pickle and a check sum that is right."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in records.items():
            archive.writestr(name, content.replace(*pickle) if name.endswith("data.pkl") and pickle[0] else content)


def test_flipped_bits_are_noticed(saved: Path) -> None:
    whole, content = saved.read_bytes(), load_tensors(saved)
    chosen = random.Random(0)
    for _ in range(300):
        place = chosen.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chosen.randrange(8)
        saved.write_bytes(damaged)
        try:
            read = load_tensors(saved)
        except CheckpointError as error:
            assert str(error).startswith(f"{saved}: ")
        else:  # a bit that no reader looks at
            assert torch.equal(read["a"], content["a"]) and torch.equal(read["b"][0], content["b"][0])
            assert read["b"][1] == 1.5


def test_archives_that_were_packed_again_are_read_where_they_are_not_compressed(saved: Path) -> None:
    rewritten(saved)
    assert torch.equal(load_tensors(saved)["a"], torch.arange(1000.0))
    rewritten(saved, compressed=True)
    with pytest.raises(CheckpointError, match="its records are compressed"):
        load_tensors(saved)


def test_a_storage_that_is_longer_than_its_record_is_refused(saved: Path) -> None:
    thousand, more = (b"M" + number.to_bytes(2, "little") for number in (1000, 60000))  # pickle's BININT2
    rewritten(saved, pickle=(thousand, more))
    with pytest.raises(CheckpointError, match="a storage of 240000 bytes is asked for, its record has 4000"):
        load_tensors(saved)


def test_a_tensor_that_repeats_its_storage_is_refused(saved: Path) -> None:
    torch.save({"a": [torch.zeros(1).expand(1 << 46)]}, saved)
    with pytest.raises(CheckpointError, match="shows more than its storage of 4 bytes"):
        load_tensors(saved)


@pytest.mark.parametrize("tensor", [torch.eye(3).to_sparse(), torch.zeros(3, device="meta")])
def test_tensors_that_are_not_plain_are_refused(saved: Path, tensor: torch.Tensor) -> None:
    torch.save(tensor, saved)
    with pytest.raises(CheckpointError, match="damaged"):
        load_tensors(saved)


def test_views_of_a_storage_are_read(saved: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"t": whole.T, "row": whole[1], "none": torch.zeros(0, 3)}, saved)
    read = load_tensors(saved)
    assert torch.equal(read["t"], whole.T) and torch.equal(read["row"], whole[1]) and read["none"].shape == (0, 3)
