from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import moegs
from engine.commands import train
from engine.reporting.figure import Tile, compose
from tests.small_world import use_small_world


@pytest.fixture
def save_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was trained and not rendered."""
    flags = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}", "--backend=torch"]
    assert train.main("E3", [*flags, "--iterations=1", "--test_iterations"]) == 0
    monkeypatch.setattr("engine.reporting.figure.TILE_WIDTH", 24)
    return tmp_path / "out"


def test_a_figure_is_drawn_of_any_camera_and_frame(save_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    for arguments in ([], ["--camera=cam01", "--frame=3"], ["--camera=cam01", "--frame=2"]):
        assert moegs.main(["figure", str(save_path), "--quiet", "--backend=torch", *arguments]) == 0
        assert capsys.readouterr().out == f"written: {save_path / 'figure.png'}\n"
        with Image.open(save_path / "figure.png") as image:
            seen.append(np.asarray(image.convert("RGB")))
    assert {image.shape for image in seen} == {(2 * (16 + 24 + 6) + 6, 4 * (24 + 6) + 6, 3)}  # recorded and 3 experts
    assert not any((one == other).all() for one, other in pairwise(seen))


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--camera=cam3", "--camera cam3: the scene has no such camera; did you mean cam"),
        ("--frame=4", "--frame is 4: the clip has the frames 0 to 3"),
        ("--iteration=7", "iteration 7 was not saved; available: 1"),
    ],
)
def test_a_wrong_moment_is_refused(save_path: Path, argument: str, said: str, capsys) -> None:
    assert moegs.main(["figure", str(save_path), "--quiet", argument]) == 2
    assert said in capsys.readouterr().err
    assert not (save_path / "figure.png").exists()


def test_tiles_keep_their_shape_and_order() -> None:
    red, grey = np.zeros((30, 40, 3), np.uint8), np.full((30, 40), 128, np.uint8)
    red[..., 0] = 255
    image = np.asarray(compose([Tile(label="a", image=red), Tile(label="b", image=grey)], columns=2))
    assert image.shape == (24 + 225 + 12, 2 * 300 + 18, 3)
    assert image[150, 150].tolist() == [255, 0, 0] and image[150, 450].tolist() == [128, 128, 128]
