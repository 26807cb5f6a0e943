"""The lines that commands leave in a log: whole lines, in one vocabulary, with units and in the right number."""

from __future__ import annotations

import logging
import re
import subprocess
from pathlib import Path

import pytest

from engine.commands import render, train
from engine.runs.device import CPU
from engine.runs.experts.loading import open_expert
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.training.run import RunConfig
from scenes import SceneOptions, load_scene
from tests.engine.expert_scene import arguments, run, write_film
from tests.small_world import use_small_world
from tests.warm_python import write_stand_in

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("footage"))


def test_standard_error_that_is_a_pipe_gets_whole_lines(film: Path, tmp_path: Path) -> None:
    flags = [flag for flag in arguments(film, tmp_path / "model", "stg", "--iterations=2") if flag != "--quiet"]
    flags.append(f"--cache_path={tmp_path / 'cache'}")
    write_stand_in(tmp_path / "python", "product")
    command = [tmp_path / "python", "moegs.py", "train-expert", *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    log = ended.stderr.decode()  # as bytes it keeps its carriage returns
    assert "\r" not in log and not any(line.endswith(" ") for line in log.splitlines())
    for line in (
        r"Decoding frames: 18 frames",
        r"Decoding frames: 18 frames in \d s",
        r"scene film: 6 frames \(0 to 5\), 2 training cameras, held-out camera: cam00",
        r"  frames: 40x32 px \(all cameras\)",
        r"device: CPU \(.*, \d+ threads?\), rasterizer back-end: (cpu|torch)",
        r"start: 60 random points at depths of \d.* scene units, each seen by 2 or more training cameras",
        r"STG: preset n3v, 2 iterations, batch size 2, 60 initial Gaussians, near .* and far .* scene units",
        r"results: size not known beforehand \(\d.*\d [MG]B free\)",
        r"memory: about \d.*\d MB of host memory, at 170,000 Gaussians",
        r"time: training takes about \d+ s \(2 iterations of \d.* ms, by a trial .* with 60 Gaussians; .*\)",
        r"decoding 3 cameras, 6 frames, 40x32 px to .*/cache: 0\.1 MB \(free: \d.*\d [MG]B\)",
        r"STG: 2 iterations",
        r"STG: 2 iterations in \d s, training PSNR \d+\.\d\d dB, loss \d\.\d{4}, Gaussians \d+",
        r"iteration 2: saved .*/iteration_2 \(\d+ Gaussians\)",
        r"Scoring STG: 1 frame",
        r"Scoring STG: 1 frame in \d s",
        r"iteration 2: held-out cameras, 1 frame: PSNR \d+\.\d\d dB, SSIM .*",
        r"STG: training took \d s; report: .*/train_expert\.json",
    ):
        assert re.search(rf"^{line}$", log, re.MULTILINE), (line, log)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The log of a router's training of two iterations, in `<tmp_path>/out`."""
    flags = [flag for flag in use_small_world(monkeypatch, tmp_path) if flag != "--quiet"]
    steps = ["--iterations=2", "--test_iterations=1", "--test_frames=1"]
    assert train.main("E3", [*flags, f"--save_path={tmp_path / 'out'}", *steps]) == 0
    return capsys.readouterr().err


def test_a_training_of_the_router(trained: str, tmp_path: Path) -> None:
    assert "\r" not in trained
    psnr = r"\d+\.\d\d"
    experts = f"Ex4DGS {psnr}, E-D3DGS {psnr}, 4DGaussians {psnr}"
    command = f"python render_E3.py --save_path {tmp_path / 'out'} --iteration 2 --skip_train"
    for line in (
        "router: 2 iterations",
        rf"iteration 1: PSNR in dB \(cam00, 1 frame\): {experts}, uniform mean {psnr}, MoE-GS {psnr}",
        rf"router: 2 iterations in \d s, training PSNR {psnr} dB, loss .*",
        f"training finished; to render and score it: {command}",
    ):
        assert re.search(rf"^{line}$", trained, re.MULTILINE), (line, trained)
    assert "Scoring" not in trained, "it is a part of the training, and takes less than 30 s"


def test_a_rendering(trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render.main("E3", [f"--save_path={tmp_path / 'out'}", "--skip_train"]) == 0
    assert render.main("E3", [f"--save_path={tmp_path / 'out'}", "--y_offset=0.1"]) == 0
    log = capsys.readouterr().err
    assert "\r" not in log
    for title in ("Fitting constant weights", "Scoring", "Rendering novel views"):
        assert re.search(rf"^{title}: 4 frames\n{title}: 4 frames in \d s$", log, re.MULTILINE), (title, log)


def test_a_training_that_is_done_says_so(trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main("E3", ["--resume", f"--save_path={tmp_path / 'out'}"]) == 0
    log = capsys.readouterr().err
    assert f"resuming after iteration 2 from {tmp_path / 'out'}/router/iteration_2\n" in log
    assert "router: already trained to iteration 2 of 2, nothing to do\n" in log


@pytest.mark.parametrize("debug", [False, True])
def test_an_expert_is_told_in_short_and_its_settings_on_request(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], debug: bool
) -> None:
    models = {"E-D3DGS": tmp_path / "ed3dgs", "Ex4DGS": tmp_path / "ex4dgs"}
    for model in models.values():
        assert run(film, model, model.name, "--iterations=2") == 0
    scene = load_scene(film, SceneOptions(cache=tmp_path / "cache", progress=False, needed="none"))
    capsys.readouterr()
    set_up_logging(quiet=False, debug=debug)
    try:
        for name, model in models.items():
            open_expert(RunConfig(), scene, name, model, device=CPU)
    finally:
        set_up_logging(quiet=True)
    log = capsys.readouterr().err
    for line in (
        r"expert E-D3DGS: 60 Gaussians, checkpoint of iteration 2",
        r"  sizes read from the checkpoint, settings read from cfg_args \(--debug lists them\)",
        r"  trained with preset n3v",
        r"expert Ex4DGS: 60 Gaussians, checkpoint of iteration 2, near [\d.]+ and far [\d.]+ scene units",
        r"  settings read from cfg_args \(--debug lists them\)",
    ):
        assert re.search(rf"^{line}$", log, re.MULTILINE), (line, log)
    assert "Technicolor" not in log
    assert len(log.splitlines()) == (9 if debug else 6), log
    assert ("  from shapes: net_width 128, " in log) == debug
    assert (" duration " in log) == (" frames of static motion, " in log) == debug


def test_details_of_libraries_are_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        for quiet, debug in ((False, True), (True, True), (False, False)):
            set_up_logging(quiet=quiet, debug=debug)
            for package in ("engine.runs.scene", "PIL.Image"):
                logging.getLogger(package).debug("%s, quiet %s, debug %s", package, quiet, debug)
        assert capsys.readouterr().err == "engine.runs.scene, quiet False, debug True\n"
    finally:
        set_up_logging(quiet=True)
