from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.outputs.files import files_hash, results_folder, tensors_hash, to_uint8, write_json, write_png
from experts.formats.torch_files import replacing


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = write_json(tmp_path / "deep" / "a.json", {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_json_is_portable(tmp_path):
    path = write_json(tmp_path / "a.json", {"x": math.inf, "y": [math.nan, 1.5], "p": Path("q"), "n": None})
    assert json.loads(path.read_text()) == {"x": "inf", "y": ["nan", 1.5], "p": "q", "n": None}


def test_images_are_clamped_and_rounded(tmp_path):
    image = torch.tensor([-1.0, 0.0, 0.4999, 0.5, 2.0]).reshape(1, 1, 5).repeat(3, 2, 1)
    image[1] = 0.2
    pixels = to_uint8(image)
    assert pixels.shape == (2, 5, 3)
    assert pixels[0, :, 0].tolist() == [0, 0, 127, 128, 255]
    assert np.array_equal(np.asarray(Image.open(write_png(tmp_path / "a.png", pixels))), pixels)
    assert to_uint8(torch.full((2, 5), 0.7)).tolist() == [[178] * 5] * 2  # 178.5 rounds to even


def test_results_folder_keeps_upstreams_names_and_other_viewpoints_apart(tmp_path):
    assert results_folder(tmp_path, "test", 5000) == tmp_path / "test" / "itrs_5000"
    assert results_folder(tmp_path, "test", 5000, variant="y_offset_0.1").name == "itrs_5000_y_offset_0.1"


def test_hashes_follow_contents(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"one")
    b.write_bytes(b"two")
    first = files_hash([a, b])
    assert first == files_hash([a, b]) != files_hash([b, a])
    b.write_bytes(b"three")
    assert files_hash([a, b]) != first

    tensors = {"w": torch.ones(2, 3), "v": torch.zeros(2)}
    assert tensors_hash(tensors) == tensors_hash(dict(reversed(tensors.items())))
    assert tensors_hash(tensors) != tensors_hash({"w": torch.ones(3, 2), "v": torch.zeros(2)})
