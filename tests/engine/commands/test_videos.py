"""Pictures of another method in a mixture: the commands train, render, verify and resume it, or refuse in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import engine.runs.experts.loading
import moegs
from engine.commands.view import expert_files, open_run, with_newest_router
from engine.errors import ConfigError
from engine.runs.run import mix_view
from engine.runs.saved.loading import load_run
from engine.settings.results.view import ViewConfig
from experts import load_expert
from tests.engine.commands.test_any_experts import FEW
from tests.scenes.scene_folders import write_video
from tests.small_world import FRAMES, HEIGHT, WIDTH, open_expert, random_scene, use_small_world

Train = Callable[..., int]
CAMERAS = ("cam00", "cam01", "cam02")


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains Ex4DGS of the small world, or Videos of a folder beside it, and Videos of a folder."""
    given = use_small_world(monkeypatch, tmp_path)
    shared = [argument for argument in given if str(tmp_path / "models") not in argument]

    def load(name: str, folder: Path, options: object, **more: object) -> object:
        return load_expert(name, folder, options, **more) if name == "Videos" else open_expert(name, folder)

    monkeypatch.setattr(engine.runs.experts.loading, "load_expert", load)

    def run(pictures: Path, save_path: Path, *more: str, beside: Path | None = None) -> int:
        first = f"Ex4DGS={tmp_path / 'models' / 'Ex4DGS'}" if beside is None else f"Videos={beside}"
        experts = [f"--expert={first}", f"--expert=Videos={pictures}"]
        return moegs.main(["train", *shared, *experts, f"--save_path={save_path}", *FEW, *more])

    return run


def written(folder: Path, *, seed: int = 0, cameras: tuple[str, ...] = CAMERAS, frames: int = FRAMES) -> Path:
    """Folders of images of all cameras, of seed 0 those that the scene has recorded."""
    pixels = random_scene(folder, seed).frames.pixels
    for camera in cameras:
        (folder / camera).mkdir(parents=True)
        for frame in range(frames):
            Image.fromarray(pixels[int(camera[3:]), frame]).save(folder / camera / f"{frame:05d}.png")
    return folder


def test_the_router_favours_pictures_that_are_right_and_no_others(train: Train, tmp_path: Path) -> None:
    """Of the recorded frames, and of other noise; gates are looked at where the router was not trained."""
    gates = {}
    for seed in (0, 1):
        pictures, save_path = written(tmp_path / f"pictures{seed}", seed=seed), tmp_path / f"run{seed}"
        assert train(pictures, save_path, "--iterations=120") == 0
        run = load_run(save_path)
        gates[seed] = mix_view(run, run.scene.test[0], 2).gates[1]
    assert gates[0].mean() > 0.9 and gates[1].mean() < 0.5
    assert all(gate.std() > 1e-3 for gate in gates.values())


def test_rendering_scores_what_training_scored_and_can_be_verified(train: Train, tmp_path: Path) -> None:
    pictures, out = written(tmp_path / "pictures", seed=1), tmp_path / "out"
    assert train(pictures, out, "--test_iterations=2", f"--test_frames={FRAMES}") == 0
    report = out / "test" / "itrs_2" / "metrics.json"
    trained = json.loads(report.read_text())["means"]
    assert moegs.main(["render", f"--save_path={out}", "--skip_train", "--quiet"]) == 0
    rendered = json.loads(report.read_text())["means"]
    assert {name: rendered[name]["psnr"] for name in ("Ex4DGS", "Videos", "MoE")} == {
        name: trained[name]["psnr"] for name in ("Ex4DGS", "Videos", "MoE")
    }
    error = random_scene(tmp_path, 1).frames.pixels[0] / 255 - random_scene(tmp_path, 0).frames.pixels[0] / 255
    own = -10 * np.log10(np.square(error).mean(axis=(1, 2, 3)))
    assert rendered["Videos"]["psnr"] == pytest.approx(own.mean(), abs=1e-4)
    assert moegs.main(["verify", str(out), "--quiet", "--frames=2"]) == 0


def test_pictures_alone_make_a_mixture(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (written(tmp_path / f"pictures{seed}", seed=seed) for seed in (1, 2))
    assert train(other, tmp_path / "out", beside=one) == 0
    assert moegs.main(["render", f"--save_path={tmp_path / 'out'}", "--skip_train", "--quiet"]) == 0
    means = json.loads((tmp_path / "out" / "test" / "itrs_2" / "metrics.json").read_text())["means"]
    assert means["MoE"]["psnr"] > max(means["Videos"]["psnr"], means["Videos-2"]["psnr"]) + 1  # noise is averaged
    assert "culled" not in capsys.readouterr().err


def test_a_second_rendering_may_be_a_twin(train: Train, tmp_path: Path) -> None:
    assert train(written(tmp_path / "pictures", seed=1), tmp_path / "out") == 0
    twin = f"--twin=Videos={written(tmp_path / 'twin')}"
    cache = f"--cache_path={tmp_path / 'decoded'}"
    assert moegs.main(["render", f"--save_path={tmp_path / 'out'}", "--skip_train", "--quiet", twin, cache]) == 0
    assert not (tmp_path / "twin" / "frame_cache").exists() and (tmp_path / "decoded" / "Videos").is_dir()
    means = json.loads((tmp_path / "out" / "test" / "itrs_2" / "metrics.json").read_text())["means"]
    half = means["Videos"]["psnr"] + 20 * np.log10(2)  # of an error that is the mean of its own and none
    (name,) = (name for name in means if name.startswith("Videos") and name != "Videos")
    assert means[name]["psnr"] == pytest.approx(half, abs=0.05)


def test_a_training_goes_on_as_if_it_had_not_stopped(train: Train, tmp_path: Path) -> None:
    pictures = written(tmp_path / "pictures", seed=1)
    assert train(pictures, tmp_path / "whole", "--iterations=9") == 0
    assert train(pictures, tmp_path / "parts", "--iterations=7") == 0
    assert train(pictures, tmp_path / "parts", "--iterations=9", "--resume") == 0
    whole, parts = (load_run(tmp_path / name).router.state_dict() for name in ("whole", "parts"))
    assert whole["pictures.Videos.weight"][:, 0].tolist() != pytest.approx([0.9, 0.9, 0.0], abs=1e-4)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_bundle_holds_the_pictures(train: Train, tmp_path: Path) -> None:
    pictures = written(tmp_path / "pictures")
    assert train(pictures, tmp_path / "out", "--bundle") == 0
    pictures.rename(tmp_path / "moved")
    run = load_run(tmp_path / "out")
    assert mix_view(run, 0, 0).images.shape[0] == 2
    assert all(tmp_path / "out" in path.parents for path in run.experts[1].provenance.files)


def refused(train: Train, tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The one line of a refusal, which leaves nothing behind."""
    before = sorted(tmp_path.rglob("*"))
    assert train(pictures, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and sorted(tmp_path.rglob("*")) == before
    return error


def test_a_camera_without_pictures_is_named(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = written(tmp_path / "pictures", cameras=CAMERAS[1:])
    error = refused(train, tmp_path, pictures, capsys)
    assert f"{pictures}: Videos has no pictures of cam00 (held out); each of the scene's 3 cameras needs" in error
    assert "for example cam00.mp4 or cam00/00000.png" in error


def test_missing_pictures_are_told(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = written(tmp_path / "short", frames=3)
    assert f"{short / 'cam00'}: has 3 frames, and the clip 4; render all" in refused(train, tmp_path, short, capsys)
    holed = written(tmp_path / "holed")
    (holed / "cam01" / "00002.png").unlink()
    assert f"{holed / 'cam01'}: image 2 is missing" in refused(train, tmp_path, holed, capsys)


def test_another_size_is_told(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = written(tmp_path / "pictures", cameras=CAMERAS[:2])
    write_video(pictures / "cam02.mp4", [np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8)] * FRAMES)
    error = refused(train, tmp_path, pictures, capsys)
    assert f"{pictures / 'cam02.mp4'}: 48x16 px, and cam02 of this scene has 24x16; render it at this size" in error


def test_two_pictures_of_a_camera_are_told(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = written(tmp_path / "pictures")
    write_video(pictures / "cam02.mp4", [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * FRAMES)
    assert "cam02 has a video and a folder of images; keep one" in refused(train, tmp_path, pictures, capsys)


def test_pictures_are_not_compressed(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = written(tmp_path / "pictures")
    error = refused(train, tmp_path, pictures, capsys, "--bundle", "--compress")
    assert "--compress: Videos has pictures, which get no smaller; leave it out" in error


def test_what_needs_gaussians_or_other_cameras_is_refused(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(written(tmp_path / "pictures"), tmp_path / "run") == 0
    run, out, spiral = str(tmp_path / "run"), str(tmp_path / "out"), ("--trajectory", "spiral")
    alone = ["--expert", f"Videos={tmp_path / 'pictures'}", "--source_path", str(tmp_path)]
    slower, here = ("--slow_motion", "2"), ["render", "--save_path", run, "--quiet"]
    has = "Videos has pictures of the scene's cameras, and no Gaussians: "
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    for arguments, message in (
        ([*here, *spiral], "image spiral_00000: Videos: has no picture of a camera at "),
        ([*here, *spiral], "or leave Videos out (--without Videos)"),
        ([*here, *slower], "image cam00_00001: Videos: has no picture of frame 0.5, but of frames 0 to 3; show one"),
        ([*here, "--without", "Videos"], "--without Videos goes with novel views, such as --trajectory spiral"),
        ([*here, *spiral, "--without", "Vide"], "--without Vide: no such expert here; did you mean Videos?"),
        (["prune", run, "--out", out], has + "there is nothing to remove; prune a run without it"),
        (["distill", run, "--expert", "Videos", "--out", out], has + "it cannot learn; give another --expert"),
        (["distill", run, "--expert", "Ex4DGS", "--out", out], has + "the mixture has no images to teach at novel"),
        (["export", run, "--to", f"{out}.html"], has + "no file can hold it; export the others with --without"),
        (["export", run, "--out", out], has + "the paper's layout has no place for it; export the others with"),
        (["export", *alone, "--to", f"{out}.html"], has + "there is nothing to export"),
        (["export", *alone, "--to", f"{out}.html", "--without", "x"], "--without x: there is one expert alone"),
        (["view", *alone], has + "the viewer flies to other cameras; view another expert"),
        (["view", run], has + "the viewer flies to other cameras; view the other experts with --without"),
    ):
        assert moegs.main(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert sorted(tmp_path.rglob("*")) == before


def test_the_others_are_viewed_and_exported_without_the_pictures(train: Train, tmp_path: Path) -> None:
    pictures, folder = written(tmp_path / "pictures"), tmp_path / "run"
    assert train(pictures, folder) == 0
    shown = open_run(ViewConfig(run=folder, without=("videos",)))
    whole = load_run(folder)
    assert [expert.name for expert in shown.experts] == ["Ex4DGS"] == list(shown.router.expert_names)
    assert torch.equal(mix_view(shown, 1, 2).image, mix_view(whole, 1, 2).images[0])
    assert train(pictures, folder, "--iterations=4", "--resume") == 0
    files = expert_files(folder)
    newer = with_newest_router(shown, folder=folder, files=files, eval_temperature=None, without=("videos",))
    assert newer.iteration == 4 and newer.router.expert_names == ("Ex4DGS",)
    with pytest.raises(ConfigError, match="holds a run of other experts by now, and iteration 4 is not shown"):
        with_newest_router(shown, folder=folder, files=files, eval_temperature=None)
    page = tmp_path / "page.html"
    assert moegs.main(["export", str(folder), "--to", str(page), "--without", "Videos", "--quiet"]) == 0
    assert page.is_file()


def test_novel_views_are_rendered_without_the_pictures(train: Train, tmp_path: Path) -> None:
    assert train(written(tmp_path / "pictures"), tmp_path / "run") == 0
    given = ["--trajectory", "spiral", "--frames", "0:2", "--without", "videos", "--quiet"]
    assert moegs.main(["render", "--save_path", str(tmp_path / "run"), *given]) == 0
    (folder,) = (tmp_path / "run" / "test").iterdir()
    assert folder.name == "itrs_2_trajectory_spiral_frames_0-2_without_videos"
    assert sorted(path.name for path in (folder / "videos").iterdir()) == [
        "video_Ex4DGS.mp4",
        "video_MoE.mp4",
        "weights_Ex4DGS.mp4",
    ]
