"""E3_tech on a Technicolor copy of a filmed scene: cropped off-centre, Ex4DGS's model in its normalised world."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.commands import render, train
from engine.runs.run import mix_view
from engine.runs.saved.loading import load_run
from experts import LoadOptions, load_expert
from experts.ex4dgs.files import save_ex4dgs
from scenes import Scene, SceneOptions, load_scene

NAME = "Kitchen"
FRAMES = 6
FIRST = 51  # number of the copy's first frame
LEFT, TOP = 24, 10  # pixels cut off: the principal point moves away from the centre
HELD_OUT = {"cam00": 10}  # the layout's held-out camera
# Mean PSNR on cam00 at frames 0 30 ... 270, uncropped, as the models' own renderers gave it.
OWN_PSNR = {"Ex4DGS": 21.45, "E-D3DGS": 21.87, "STG": 21.37}


def write_copy(folder: Path, scene: Scene) -> None:
    rows = {}
    for index, view in enumerate(scene.views):
        number = HELD_OUT.get(view.name, view.number)
        for frame in range(FRAMES):
            image = Image.fromarray(scene.frames.read(index, frame)[TOP:, LEFT:])
            image.save(folder / f"{NAME}_undist_{FIRST + frame:05d}_{number:02d}.png")
        camera = view.camera
        numbers = [camera.fx, camera.cx - LEFT, camera.cy - TOP, 1, 0, *quaternion(camera.world_to_camera[:3, :3])]
        rows[number] = " ".join(f"{value:.17g}" for value in [*numbers, *camera.world_to_camera[:3, 3].tolist()])
    nobody = "1 1 1 1 0 1 0 0 0 0 0 0"  # cameras without images
    lines = [rows.get(number, nobody) for number in range(max(rows) + 1)]
    (folder / "cameras_parameters.txt").write_text("\n".join(["header", *lines]) + "\n")


def quaternion(rotation: torch.Tensor) -> list[float]:
    """wxyz: the eigenvector of the rotation's symmetric 4x4 matrix (Bar-Itzhack)."""
    r = rotation.double().numpy()
    k = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    return np.linalg.eigh(k)[1][:, -1].tolist()


@torch.no_grad()
def write_normalised_ex4dgs(source: Path, folder: Path, radius: float) -> None:
    """The model in a world divided by the rig's radius, as Ex4DGS trains on Technicolor."""
    model = load_expert("Ex4DGS", source, LoadOptions(num_frames=300))
    for means in (model.static.means, model.static.displacements, model.dynamic.means):
        means /= radius
    for log_scales in (model.static.log_scales, model.dynamic.log_scales):
        log_scales -= float(np.log(radius))
    save_ex4dgs(model, folder, 1)


@pytest.fixture(scope="module")
def trained(shared, tmp_path_factory) -> tuple[Path, Path]:
    work = tmp_path_factory.mktemp("technicolor")
    film, models = shared("data/kitchen_tiny"), shared("reference/experts")
    scene = load_scene(film, SceneOptions(cache=work / "film", duration=FRAMES, progress=False))
    copy, save_path = work / NAME, work / "run"
    copy.mkdir()
    write_copy(copy, scene)
    write_normalised_ex4dgs(models / "Ex4DGS/kitchen_tiny", work / "Ex4DGS", scene.rig_radius)
    config = {"loader": "technicolor", "start_timestamp": FIRST, "end_timestamp": FIRST + FRAMES, "resolution": 1}
    (work / "config.json").write_text(json.dumps({**config, "duration": FRAMES, "near": 0.01, "far": 300.0}))
    arguments = [f"--config={work / 'config.json'}", f"--source_path={copy}", f"--save_path={save_path}"]
    arguments += [f"--model_path={work / 'Ex4DGS'}", f"--emb_path={models / 'E-D3DGS/kitchen_tiny'}"]
    arguments += [
        f"--stg_path={models / 'STG/kitchen_tiny/kitchen_tiny_0to149'}",
        "--iterations=40",
        "--test_iterations",
    ]
    assert train.main("E3_tech", [*arguments, "--quiet"]) == 0
    return copy, save_path


def test_every_expert_shows_the_off_centre_scene(trained):
    run = load_run(trained[1], needed="test")
    (view,) = run.scene.test
    camera = run.scene.views[view].camera
    assert (run.scene.views[view].name, camera.width, camera.height) == ("cam10", 136, 110)
    assert abs(camera.cx - camera.width / 2) == LEFT / 2 and abs(camera.cy - camera.height / 2) == TOP / 2
    mixture = mix_view(run, view, 0)
    truth = torch.tensor(run.scene.frames.read(view, 0)).permute(2, 0, 1) / 255
    for expert, image in zip(run.experts, mixture.images, strict=True):
        psnr = -10 * (image.clamp(0, 1) - truth).square().mean().log10().item()
        assert psnr > OWN_PSNR[expert.name] - 0.5, expert.name  # 12.7 with the principal point in the centre


def test_the_render_script_scores_it_and_the_blend_wins(trained):
    copy, save_path = trained
    arguments = [f"--source_path={copy}", f"--save_path={save_path}", "--skip_train", "--quiet"]
    assert render.main("E3_tech", arguments) == 0
    means = json.loads((save_path / "test/itrs_40/metrics.json").read_text())["means"]
    psnr = {name: scores["psnr"] for name, scores in means.items()}
    assert psnr["MoE"] > max(psnr[name] for name in (*OWN_PSNR, "uniform_mean")), psnr
    assert (save_path / "test/itrs_40/videos/weights_STG.mp4").exists()


def test_another_focal_length_has_its_own_folder_and_no_scores(trained):
    copy, save_path = trained
    arguments = [f"--source_path={copy}", f"--save_path={save_path}", "--skip_train", "--focal_mm=50", "--quiet"]
    assert render.main("E3_tech", arguments) == 0
    (folder,) = (save_path / "test").glob("itrs_40_*")
    assert (folder / "videos/video_MoE.mp4").exists() and not (folder / "metrics.json").exists()
