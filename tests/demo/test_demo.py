"""The demo's commands and shipped experts, from the scene to the verdict, on smaller images from three cameras."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import engine.reporting.figure
import moegs
from demo.playroom import PointCounts, RigSize, write_scene
from demo.playroom.writer import FRAMES_PER_SECOND
from engine.commands import render, train
from engine.evaluation.rivals.oracles import ORACLES
from engine.reporting.against_experts import verdict_of
from engine.reporting.figure import LABEL, MARGIN
from engine.reporting.results import read_results
from engine.runs.experts.loading import open_expert
from engine.runs.scene import open_scene
from engine.settings.parsing.fields import with_values
from engine.settings.training.run import AnyRunConfig
from experts import EXPERTS as EXPERT_TABLE
from experts import CheckpointError
from experts.formats.cfg_args import read_cfg_args
from experts.formats.settings import CLIP_FRAMES, FIRST_FRAME, FRAME_RATE, PRESET
from router import ENSEMBLES, Ensemble, folder_flags

SIZE = RigSize(width=80, height=60, num_cameras=3)
EXPERTS = Path(__file__).resolve().parents[2] / "demo" / "experts"


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder after its commands, with three steps of the router."""
    root = tmp_path_factory.mktemp("demo")
    write_scene(root / "playroom", size=SIZE, counts=PointCounts(still=20, moving=20, instants=1), supersampling=2)
    flags = [f"--{flag}={EXPERTS / name}" for name, flag in folder_flags(ENSEMBLES["E4"]).items()]
    data = ["--source_path", str(root / "playroom"), "--save_path", str(root / "run"), "--quiet"]
    assert train.main("E4", [*data, *flags, "--iterations", "3", "--test_iterations", "--test_frames", "1"]) == 0
    assert render.main("E4", ["--save_path", str(root / "run"), "--skip_train", "--quiet"]) == 0
    return root


def test_the_shipped_experts_show_the_scene_and_are_reported(
    demo_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = moegs.main(["report", str(demo_folder / "run"), "--require_win", "--frames=0"])
    printed = capsys.readouterr().out
    verdict = verdict_of(read_results(demo_folder / "run"))
    assert code == (0 if verdict.wins else 1)
    methods = {"Ex4DGS", "E-D3DGS", "STG", "4DGaussians", "uniform_mean", "best_constant", "MoE", *ORACLES}
    assert set(verdict.scores) == methods
    psnr = {method: scores["psnr"] for method, scores in verdict.scores.items()}
    assert all(value > 20 for value in psnr.values()), psnr  # 21.0 to 25.6 seen
    assert str(demo_folder / "run" / "test" / "itrs_3" / "videos" / "video_MoE.mp4") in printed
    (row,) = (line.split() for line in printed.splitlines() if line.startswith("  MoE-GS "))
    assert row[1:3] == [f"{psnr['MoE']:.2f}", f"{verdict.scores['MoE']['ssim']:.4f}"]


@pytest.mark.parametrize("name", ENSEMBLES["E4"].experts)
def test_the_shipped_experts_know_the_clip_of_their_training(name: str, demo_folder: Path) -> None:
    settings = json.loads((EXPERTS.parent / f"{EXPERT_TABLE[name].key}.json").read_text())
    facts = read_cfg_args(EXPERTS / name) or {}
    assert (facts[FIRST_FRAME], facts[CLIP_FRAMES], facts[FRAME_RATE]) == (0, RigSize().num_frames, FRAMES_PER_SECOND)
    assert (facts["iterations"], facts[PRESET]) == (settings["iterations"], settings.get("preset", "n3v"))
    given = {"source_path": demo_folder / "playroom", "save_path": demo_folder, "start_timestamp": 5}
    later = with_values(AnyRunConfig(), given)
    scene = open_scene(later, Ensemble(name=name, layout="n3v", experts=(name,)))
    with pytest.raises(CheckpointError, match=f"{name} was trained from frame 0 of the footage on, .* from frame 5 on"):
        open_expert(later, scene, name, EXPERTS / name, device=torch.device("cpu"))


def test_a_figure_shows_every_expert_and_gate(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = 80
    monkeypatch.setattr(engine.reporting.figure, "TILE_WIDTH", width)  # small, as choosing the palette takes its time
    target = tmp_path / "images" / "demo.png"
    assert moegs.main(["figure", str(demo_folder / "run"), "--out", str(target), "--frame", "2"]) == 0
    with Image.open(target) as image:
        assert image.mode == "P"  # with a palette: 40 % of the size
        pixels = np.asarray(image.convert("RGB"))
    tile, columns = (60 + LABEL + MARGIN, width + MARGIN), 1 + len(ENSEMBLES["E4"].experts)
    assert pixels.shape == (2 * tile[0] + MARGIN, columns * tile[1] + MARGIN, 3)
    for row, column in product(range(2), range(columns)):
        top, left = MARGIN + row * tile[0] + LABEL, MARGIN + column * tile[1]
        assert pixels[top : top + 60, left : left + width].mean() < 240, (row, column)  # paper is 255


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo-scen"], "did you mean demo-scene?"),
        (["prepare-breakfast"], "see --help"),
        (["report", "."], "render the run first"),
        (["figure", "nowhere"], "SAVE_PATH nowhere: no such folder"),
        (["figure", "."], "holds no trained router"),
        (["demo-scene", "--wokers", "1"], "is not a flag"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert moegs.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
